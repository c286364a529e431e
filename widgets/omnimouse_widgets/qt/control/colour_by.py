"""Menu of the quantity that colours the neurons, and the colour legend."""

from typing import cast

import numpy as np
from qtpy.QtCore import QSignalBlocker, QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.colour_by import Quantity, Scale
from omnimouse_model.live.state import ColourBy
from omnimouse_model.masks import HIDDEN, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.field.mask_counts import ORDER
from omnimouse_widgets.qt.style.colour_bar import ColourBar
from omnimouse_widgets.qt.style.segmented_button import swatch
from omnimouse_widgets.qt.style.theme import (
    ToneLabel,
    quiet_label,
    ring_label,
    state_label,
)

_SWATCHES = 4
"""Number of areas per row of the legend."""


class ColourMenu(QComboBox):
    """Menu of all quantities that the session has."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.setToolTip("What colours the neurons (C: state, and back)")
        self.setAccessibleName("Colour by")
        # Long names of quantities must not widen the panel.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.activated.connect(lambda _: self._pick())

    def names(self) -> list[str]:
        """Return the names of all choices."""
        return [str(self.itemData(at)) for at in range(self.count())]

    def draw(self) -> None:
        """Fill the menu with the quantities of the session and show the current one."""
        choices = self._controller.colouring.choices
        # Refill only for other quantities: an open menu would close.
        with QSignalBlocker(self):
            if self.names() != [quantity.name for quantity in choices]:
                self._fill(choices)
            self.setCurrentIndex(self.findData(self._controller.state.colour_by))

    def _fill(self, choices: tuple[Quantity, ...]) -> None:
        self.clear()
        for at, quantity in enumerate(choices):
            unit = f" ({quantity.unit})" if quantity.unit else ""
            self.addItem(quantity.label + unit, quantity.name)
            role = Qt.ItemDataRole.ToolTipRole
            self.setItemData(at, quantity.explanation, role)

    def _pick(self) -> None:
        self._controller.set_colour_by(cast(ColourBy, self.currentData()))


class ColourLegend(QWidget):
    """Legend of the field: colour bar or swatches, a message, and all marks.

    Attributes
    ----------
    states
        Meaning of glyphs or outlines as mask states; hidden if scores are coloured.
    rings
        Meaning of the other rings: visible, without score, unknown, selected.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.bar = ColourBar()
        self.swatches = QWidget()
        self._grid = QGridLayout(self.swatches)
        self._grid.setContentsMargins(4, 0, 0, 0)
        self._shown: tuple[str, ...] = ()
        self.notice = quiet_label()
        self.outline = ToneLabel("outline")
        self.states = QWidget()
        row = QHBoxLayout(self.states)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.outline)
        self._labels = {code: state_label(code) for code in ORDER}
        for label in self._labels.values():
            row.addWidget(label)
        self.no_outline = ToneLabel("· none: asked")
        row.addWidget(self.no_outline)
        self.rings = QWidget()
        row = QHBoxLayout(self.rings)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.given = ring_label(palette.GIVEN, "visible")
        self.unscored = ring_label(palette.UNSCORED, "no score")
        self.unknown = ring_label(palette.UNSCORED, "not known")
        self.selected = ring_label(palette.SELECTED, "selected")
        for label in (self.given, self.unscored, self.unknown, self.selected):
            row.addWidget(label)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for part in (self.bar, self.swatches, self.notice, self.states, self.rings):
            column.addWidget(part)

    def draw(self) -> None:
        """Show the legend of the current colours."""
        colouring, results = self._controller.colouring, self._controller.results
        scale, by_score = colouring.scale, self._controller.state.colour_by == "score"
        # While a quantity is being read, the field still shows the states.
        if scale is not None and not scale.is_known and not by_score:
            scale = None
        # Numbers have a colour bar; categories (`words`) have swatches.
        is_ranked = scale is not None and not scale.words
        self.bar.setVisible(is_ranked or (scale is None and by_score))
        self.bar.show_scale(scale, is_old=by_score and results.is_population_old)
        self.bar.setToolTip(_explained(scale))
        self.swatches.setVisible(scale is not None and bool(scale.words))
        self._show_swatches(() if scale is None else scale.words)
        self.notice.setVisible(bool(colouring.words))
        self.notice.setText(colouring.words)
        self.outline.setVisible(scale is not None)
        for code, label in self._labels.items():
            # With a quantity, the outline shows only visible and hidden; target neurons
            # have an outline in the colour of the quantity.
            label.setVisible(scale is None or code in (VISIBLE, HIDDEN))
        self.states.setVisible(not by_score)
        self.no_outline.setVisible(scale is not None)
        self.given.setVisible(by_score)
        self.unscored.setVisible(by_score)
        is_unknown = scale is not None and not np.isfinite(scale.values).all()
        self.unknown.setVisible(is_unknown and not by_score)

    def _show_swatches(self, words: tuple[str, ...]) -> None:
        # Creating widgets is slow, and the legend is drawn after every result.
        if words == self._shown:
            return
        self._shown = words
        while (item := self._grid.takeAt(0)) is not None:
            # `takeAt` removes an item from the layout but does not delete its widget.
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        table = palette.area_table(len(words))
        for at, word in enumerate(words):
            row, column = divmod(at, _SWATCHES)
            self._grid.addWidget(_swatch(word, table[at].tolist()), row, column)


def _swatch(word: str, colour: list[int]) -> QWidget:
    mark = QLabel()
    mark.setPixmap(swatch("#{:02X}{:02X}{:02X}".format(*colour)).pixmap(QSize(10, 10)))
    pair = QWidget()
    row = QHBoxLayout(pair)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    row.addWidget(mark)
    label = ToneLabel(word)
    label.setMinimumWidth(1)
    row.addWidget(label, 1)
    return pair


def _explained(scale: Scale | None) -> str:
    if scale is None:
        return ""
    if scale.quantity.name != "score":
        told = scale.quantity.explanation
        return (
            f"{told}\nGrey: not known · outline: visible or hidden; of whom any sample "
            "is asked, the outline has the colour of the number · white: selected"
        )
    return (
        f"{scale.quantity.explanation}.\n"
        "Two seconds say little: over many windows `omnimouse evaluate` tells.\n"
        "Slate ring: visible · grey disk: no score · white ring: selected"
    )
