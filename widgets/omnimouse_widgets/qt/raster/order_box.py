"""Choice of the raster's row order, with the reason when it is not applied."""

from functools import partial
from typing import cast

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.raster.order import (
    MEANINGS,
    ORDERINGS,
    Arrangement,
    arrange,
    press_similarity,
    similarity_button,
)
from omnimouse_widgets.drawn.raster.rows import Ordering
from omnimouse_widgets.qt.style.controls import describe, show_text, tool_button
from omnimouse_widgets.qt.style.form import row_of
from omnimouse_widgets.qt.style.menu_box import MenuBox

_TIP = Qt.ItemDataRole.ToolTipRole


class OrderBox(QWidget):
    """Menu of row orders, and a button to stop the computation of similarity.

    Parameters
    ----------
    controller
        Source of `state`, `results` and `neuron_order`.

    Attributes
    ----------
    order_changed
        Emitted after the choice of another order.
    """

    order_changed = Signal()

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.box = MenuBox()
        self.box.setMaximumWidth(124)
        describe(self.box, "Order of the rows, from top to bottom", "Order of the rows")
        for number, (value, label) in enumerate(ORDERINGS.items()):
            self.box.addItem(label, value)
            self.box.setItemData(number, MEANINGS[value], _TIP)
        self.show_ordering("state")
        # Connected last: setting the initial order is not a choice of the user.
        self.box.currentIndexChanged.connect(self._picked)
        self.button = tool_button("", "", partial(press_similarity, controller))
        self.setLayout(row_of(self.box, self.button))
        self.draw()

    @property
    def ordering(self) -> Ordering:
        """The chosen order."""
        return cast(Ordering, self.box.currentData())

    def show_ordering(self, ordering: Ordering) -> None:
        """Select an order in the menu; emit `order_changed` if it is a new one."""
        self.box.setCurrentIndex(self.box.findData(ordering))

    def row_order(self) -> Arrangement:
        """Return the order of the rows; stored order until similarity is known."""
        state, similarity = self._controller.state, self._controller.neuron_order
        assert state.session is not None
        assert state.mask is not None
        # Starts the computation in the background unless the order is known.
        if self.ordering == "similarity":
            similarity.request()
        return arrange(
            self.ordering,
            state.session.units,
            state.mask,
            state.active_span,
            self._controller.results.shown_scores,
            similarity.order,
        )

    def draw(self) -> None:
        """Show the button if the comparison can be stopped or restarted."""
        text = similarity_button(self._controller, self.ordering)
        show_text(self.button, text)
        self.button.setToolTip(
            "Stop the comparison" if text == "Stop" else "Compare the neurons again"
        )

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Stop computing the similarity order."""
        # The comparison of neurons is costly, and a hidden raster does not need it.
        super().hideEvent(event)
        self._controller.neuron_order.pause()

    def _picked(self, _: int) -> None:
        # Another order does not need the comparison of neurons that may still run.
        if self.ordering != "similarity":
            self._controller.neuron_order.pause()
        self.order_changed.emit()
        self.draw()
