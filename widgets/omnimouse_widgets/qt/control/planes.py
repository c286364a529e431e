"""Controls for the display of neurons: field or 3-D, all planes or one."""

from qtpy.QtWidgets import QWidget

from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.qt.style.controls import (
    combo_box,
    describe,
    fit_panel_width,
    set_items,
)
from omnimouse_widgets.qt.style.form import row_of
from omnimouse_widgets.qt.style.segmented_button import Choice, SegmentedButton

IN_SPACE = "The neurons at their positions in the cortex; drag to turn them (Shift+D)"
PLACES = (
    Choice(False, "Field", "The imaging field, which can be painted"),
    Choice(True, "3-D", IN_SPACE),
)


class PlaneRow(QWidget):
    """Buttons *Field | 3-D*, and a menu of imaging planes if there are several."""

    def __init__(self, state: LiveState, planes: Planes) -> None:
        super().__init__()
        self._state, self._planes = state, planes
        self.space = SegmentedButton(PLACES, "Field or 3-D")
        self.space.picked.connect(planes.show_in_space)
        self.plane = combo_box(planes.show, offered=lambda: (None, *planes.numbers))
        fit_panel_width(self.plane)
        row = row_of(self.space, self.plane)
        row.setStretch(0, 2)
        row.setStretch(1, 3)
        self.setLayout(row)

    def draw(self) -> None:
        """Show the planes of the session and the current choices."""
        planes, session = self._planes, self._state.session
        has_probes = session is not None and session.units.probe is not None
        kind = "probe" if has_probes else "imaging plane"
        tooltip = (
            f"Show all {kind}s, or only one; painting then changes only the neurons "
            "shown (Alt+PgUp, Alt+PgDown)"
        )
        describe(self.plane, tooltip, kind.capitalize())
        every = planes.label_of_all
        names = [(every, None), *((planes.label_of(n), n) for n in planes.numbers)]
        set_items(self.plane, names)
        self.plane.setCurrentIndex(self.plane.findData(planes.number))
        # A session with one plane or probe has only the entry for all.
        self.plane.setVisible(len(names) > 1)
        self.space.show_value(self._state.in_space)
        why_flat = planes.flat_reason
        button = self.space.button(True)
        button.setEnabled(not why_flat)
        # A disabled button still shows its tooltip, which gives the reason.
        button.setToolTip(f"No 3-D: {why_flat}" if why_flat else IN_SPACE)
