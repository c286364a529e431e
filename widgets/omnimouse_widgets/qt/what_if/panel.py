"""What-if panel: edits of stimulus and behaviour and the resulting predictions."""

from dataclasses import replace
from functools import partial

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from omnimouse_model.analysis.in_silico.counterfactual import NO_TRUTH, WhatIf
from omnimouse_model.data.session import Window
from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.units import bar_height
from omnimouse_widgets.qt.style import plot_style, shortcuts
from omnimouse_widgets.qt.style.controls import (
    push_button,
    scroll_vertically,
    show_text,
)
from omnimouse_widgets.qt.style.form import ElidedLabel, column_in, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import ToneLabel, wrapped_label
from omnimouse_widgets.qt.traces.legend import LegendLabel
from omnimouse_widgets.qt.traces.plot import TraceStack
from omnimouse_widgets.qt.what_if.controls import WhatIfControls
from omnimouse_widgets.views.record import NO_SESSION
from omnimouse_widgets.views.time import (
    cursor_s,
    frame_at_sample,
    move_cursor,
)
from omnimouse_widgets.views.trace_row import Trace
from omnimouse_widgets.views.traces import LegendEntry, least_span, predicted_of

TOOLTIP = (
    "Predictions for the selected neurons: without the edits (orange) and with them\n"
    "(blue, dashed). There is no recording with the edits, so there is no score.\n"
    "Δ: root mean square of the difference over the target samples"
)
LEGEND = (
    LegendEntry("━", palette.PREDICTED, "without edits"),
    LegendEntry("╍", palette.EDITED, "with edits"),
    LegendEntry("Δ", palette.AXIS, "difference"),
)
# Eight names fit in two lines of a dock of 400 pixels.
N_LISTED = 8


class WhatIfPanel(QWidget):
    """Edits beside both frames; below, both predictions and the most changed neurons.

    Parameters
    ----------
    controller
        Source of `state` and `results`, and receiver of the edits.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.setObjectName("omnimouse-what-if")
        self._controller = controller
        self.controls = WhatIfControls(controller)
        self.stack = TraceStack(
            partial(move_cursor, controller.state, controller.navigation), TOOLTIP
        )
        # Here the two predictions take the places of recording and prediction.
        self.stack.truth.setPen(plot_style.pen(palette.PREDICTED))
        self.stack.predicted.setPen(plot_style.pen(palette.EDITED, dashed=True))
        self._build_head()
        self._build_frames()
        self._build_listed()
        self._lay_out()
        shortcuts.bind_keys(self, controller)
        events, results = controller.state.events, controller.results
        # The content covers this panel, so Qt reports the panel itself as not visible.
        self.redraw = Redraw(
            self._content,
            (self._draw_head, [events.edits, events.mask, events.window,
                               results.changed]),
            (self._draw_frames, [events.edits, events.window, events.cursor,
                                 events.mask]),
            (self._draw_rows, [events.window, events.selection, events.edits,
                               results.changed]),
            (self._draw_listed, [results.changed, events.window]),
            (self._draw_cursor, [events.cursor, events.window]),
        )  # fmt: skip

    # -- building -----------------------------------------------------------------
    def _build_head(self) -> None:
        self.edits = ElidedLabel()
        self.status = ToneLabel(tone="alert")
        self.status.setToolTip("There is no recording with the edits")
        self.reset = push_button(
            "Reset",
            "Remove all edits (Shift+W; Ctrl+Z restores them)",
            self._controller.stimulus_edits.reset,
        )
        self.remarks = wrapped_label("alert")

    def _build_frames(self) -> None:
        self.canvas = plot_style.canvas("The frame at the cursor: as recorded, and edited")
        # Fixed, because the controls beside it need the rest of the width.
        self.canvas.setFixedSize(132, 190)
        self.recorded = self._picture(0, "recorded", palette.RECORDED)
        self.edited = self._picture(2, "edited", palette.EDITED)

    def _picture(self, row: int, title: str, colour: str) -> pg.ImageItem:
        label = self.canvas.addLabel(title, row, 0, color=colour, size="8pt")
        label.setMaximumHeight(14)
        view = self.canvas.addViewBox(
            row + 1, 0, enableMenu=False, enableMouse=False, lockAspect=True,
            invertY=True, defaultPadding=0.0,
        )  # fmt: skip
        image = plot_style.image()
        view.addItem(image)
        return image

    def _build_listed(self) -> None:
        self.listed = QLabel()
        self.listed.setTextFormat(Qt.TextFormat.RichText)
        self.listed.setTextInteractionFlags(
            Qt.TextInteractionFlag.LinksAccessibleByMouse
            | Qt.TextInteractionFlag.LinksAccessibleByKeyboard
        )
        self.listed.setWordWrap(True)
        # The list wraps; without this, its longest word would widen the dock.
        self.listed.setMinimumWidth(1)
        self.listed.setFont(plot_style.small_font())
        self.listed.setToolTip(
            "Neurons with the largest change of the prediction (root mean square);\n"
            "press one to select it"
        )
        self.listed.linkActivated.connect(
            lambda neuron: self._controller.selection.select([int(neuron)], add=True)
        )

    def _lay_out(self) -> None:
        self._content = QWidget()
        # The status has a line of its own, also while it is empty: the names of the
        # edits need the width, and no control moves.
        self.status.setMinimumHeight(self.status.fontMetrics().height())
        head = row_of(self.edits, self.reset, stretch=0)
        frames = row_of(self.controls, self.canvas, stretch=0)
        self.stack.canvas.setMinimumHeight(130)
        # pyqtgraph's size hint is too large for a dock: the plot takes the free space.
        ignored = QSizePolicy.Policy.Ignored
        self.stack.canvas.setSizePolicy(ignored, ignored)
        legend = LegendLabel(LEGEND)
        plot = self.stack.canvas
        parts = (head, self.status, self.remarks, frames, legend, plot, self.listed)
        column_in(self._content, *parts, stretch=parts.index(plot))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll_vertically(self._content))

    # -- from state to screen -----------------------------------------------------
    @property
    def result(self) -> WhatIf | None:
        """The what-if result of the current window, possibly out of date."""
        return self._controller.results.what_if

    def _draw_head(self) -> None:
        edits = self._controller.stimulus_edits
        is_edited = bool(edits.edits)
        text = edits.text if is_edited else "No edits: change a control below"
        self.edits.set_text(text)
        self.status.setText(self.status_text())
        self.reset.setEnabled(is_edited)
        remarks = [f"⚠ {remark}" for remark in edits.remarks]
        if error := self._controller.results.what_if_error:
            remarks.insert(0, f"⚠ Not predicted: {error}")
        show_text(self.remarks, "\n".join(remarks))

    def status_text(self) -> str:
        """Return the freshness of the result, or that it has no score."""
        if not self._controller.stimulus_edits.edits:
            return ""
        freshness = self._controller.results.what_if_freshness
        age = {
            "running": "◌ predicting…",
            "stale": "◌ older…",
            "stopped": "stopped",
            "error": "not predicted",
        }
        return age.get(freshness, NO_TRUTH)

    def _draw_frames(self) -> None:
        state = self._controller.state
        window, mask = state.window, state.mask
        has_video = state.session is not None and state.session.stimulus is not None
        has_video &= state.spec.video is not None
        if window is None or mask is None or not has_video:
            self.recorded.clear()
            self.edited.clear()
            return
        # Hidden frames are dimmed, as in the stimulus panel.
        at = frame_at_sample(state.spec, state.cursor)
        opacity = 1.0 if mask.frames[at] else 0.45
        changed = self._controller.stimulus_edits.window
        self._show_frame(self.recorded, window, opacity)
        self._show_frame(self.edited, changed or window, opacity)

    def _show_frame(self, image: pg.ImageItem, window: Window, opacity: float) -> None:
        at = frame_at_sample(window.spec, self._controller.state.cursor)
        frame = window.frames_u8[at]
        image.setImage(frame, autoLevels=False, levels=(0, 255))
        image.setOpacity(opacity)

    def _draw_rows(self) -> None:
        traces = self.traces()
        self.stack.set_rows(traces)
        self.stack.set_message("" if traces else self._missing())

    def _missing(self) -> str:
        state = self._controller.state
        if state.window is None:
            return NO_SESSION
        if not state.edits:
            return "Edit the video or behaviour\nto see the new prediction"
        if self.result is None:
            return self.status_text()
        return "Select neurons with target samples\n(a number below)"

    def traces(self) -> list[Trace]:
        """Return rows of the selected neurons that have a prediction."""
        state, result = self._controller.state, self.result
        if state.session is None or state.window is None or result is None:
            return []
        time = state.window.timestamps["responses"]
        is_old = self._controller.results.what_if_freshness != "fresh"
        change = dict(zip(result.neurons.tolist(), result.change, strict=True))
        rows, least = [], least_span(state.spec)
        for neuron in state.selection:
            # Only target samples are predicted; other neurons have nothing to compare.
            before = predicted_of(result.before, neuron, state.window)
            if before is None or not np.isfinite(before).any():
                continue
            name = state.session.units.names[neuron]
            # Δ, not r: there is no recording under edited input, so a score is not
            # defined.
            label = f"{name} · Δ {change[neuron]:z.2f}"
            # No shading: both curves exist in the target samples only.
            shade = np.zeros(len(time), np.uint8)
            after = predicted_of(result.after, neuron, state.window)
            row = Trace(label, label, time, before, after, shade, is_old, least)
            rows.append(replace(row, bar=bar_height(state.spec)))
        return rows

    def _draw_listed(self) -> None:
        result = self.result
        if result is None:
            self.listed.setText("")
            return
        most = result.most_changed(N_LISTED)
        if not len(most):
            self.listed.setText("No prediction changes.")
            return
        change = dict(zip(result.neurons.tolist(), result.change, strict=True))
        # Qt draws links in blue, which is hard to read in dark themes.
        colour = self.palette().color(QPalette.ColorRole.WindowText).name()
        links = [
            f"<a href='{n}' style='color:{colour}'>{n}</a> Δ {change[n]:z.2f}"
            for n in most.tolist()
        ]
        self.listed.setText(f"Most changed: {' · '.join(links)}")

    def _draw_cursor(self) -> None:
        self.stack.set_cursor(cursor_s(self._controller.state))
