"""Controls for the display of neurons: field or 3-D, all planes or one."""

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.style.segmented_button import Choice, Segmented

IN_SPACE = "The neurons at their places in the cortex; drag turns them (Shift+D)"
PLACES = (
    Choice(False, "Field", "The imaged field, to paint on"),
    Choice(True, "3-D", IN_SPACE),
)


class PlaceRow(QWidget):
    """Buttons *Field | 3-D*, and a menu of imaging planes if there are several."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.space = Segmented(PLACES, "Field or 3-D")
        self.space.picked.connect(controller.planes.show_in_space)
        self.plane = QComboBox()
        self.plane.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.plane.activated.connect(
            lambda _: controller.planes.show(self.plane.currentData())
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.space, 2)
        row.addWidget(self.plane, 3)

    def draw(self) -> None:
        """Show the planes of the session and the current choices."""
        planes, session = self._controller.planes, self._controller.state.session
        has_probes = session is not None and session.units.probe is not None
        kind = "probe" if has_probes else "imaging plane"
        self.plane.setAccessibleName(kind.capitalize())
        self.plane.setToolTip(
            f"All {kind}s, or one alone: painting then leaves the others as they "
            "are (Alt+PgUp, Alt+PgDown)"
        )
        every = "all probes" if has_probes else "all planes"
        names = [(every, None), *((planes.words_of(n), n) for n in planes.numbers)]
        # Refill only for other planes, to keep an open menu.
        with QSignalBlocker(self.plane):
            if names != self._offered():
                self.plane.clear()
                for words, number in names:
                    self.plane.addItem(words, number)
            self.plane.setCurrentIndex(self.plane.findData(planes.shown))
        # A session with one plane or probe has only the entry for all.
        self.plane.setVisible(len(names) > 1)
        self.space.show_value(self._controller.state.in_space)
        why_flat = planes.why_flat
        button = self.space.button(True)
        button.setEnabled(not why_flat)
        # A disabled button still shows its tooltip, which gives the reason.
        button.setToolTip(f"No 3-D: {why_flat}" if why_flat else IN_SPACE)

    def _offered(self) -> list[tuple[str, object]]:
        menu = self.plane
        role = Qt.ItemDataRole.UserRole
        return [(menu.itemText(i), menu.itemData(i, role)) for i in range(menu.count())]
