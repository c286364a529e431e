"""Form for a background sweep: values, windows and a start button."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLineEdit, QSpinBox, QWidget

from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.context.form import (
    DRAWS,
    TIPS,
    WINDOWS,
    fitting_neurons,
    histories_in,
    numbers_in,
    tiers_of,
    usual_history,
)
from omnimouse_widgets.qt.style.controls import (
    NARROW_BOX,
    describe,
    push_button,
    set_items,
)
from omnimouse_widgets.qt.style.menu_box import MenuBox
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import Choice, SegmentedButton
from omnimouse_widgets.qt.style.theme import ToneLabel, wrapped_label
from omnimouse_widgets.qt.style.wheel import scroll_past

BOTH = (True, False)


class SweepForm(QWidget):
    """Form for the plan of a sweep; emits `start` with the plan and a name.

    Parameters
    ----------
    controller
        Source of `state` and `sweeps`; the form only reads them.
    """

    start = Signal(object, str)

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._usual_history = usual_history()
        self.neurons, self.history = QLineEdit(), QLineEdit(self._usual_history)
        self.video, self.behavior = _choice("Video"), _choice("Behaviour")
        self.draws, self.windows = _number(1, 50, DRAWS), _number(0, 9999, WINDOWS)
        # Qt shows this text for the minimum, 0, which means no limit.
        self.windows.setSpecialValueText("all")
        self.tier, self.name = MenuBox(), QLineEdit()
        self.name.setPlaceholderText("name")
        self.button = push_button("Start", "Start the sweep in the background", self._press)
        self.summary = wrapped_label()
        self._lay_out()
        for signal in (
            self.neurons.textChanged,
            self.history.textChanged,
            self.video.picked,
            self.behavior.picked,
            self.draws.valueChanged,
            self.windows.valueChanged,
            self.tier.currentTextChanged,
        ):
            signal.connect(lambda _: self._draw_summary())
        events = controller.state.events
        signals = [controller.sweeps.changed, controller.results.changed,
                   events.predictor_name, events.device]  # fmt: skip
        self.redraw = Redraw(
            self,
            (self._draw_session, [events.session]),
            (self._draw_window, [events.window]),
            (self._draw_summary, signals),
        )

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 4, 0)
        grid.setVerticalSpacing(3)
        history = ("history", "History", self.history)
        rows: list[tuple[tuple[str, str, QWidget], ...]] = [
            (("neurons", "Neurons", self.neurons), history),
            (("", "Video", self.video), ("", "Behav.", self.behavior)),
            (("draws", "Draws", self.draws), ("windows", "Windows", self.windows)),
            (("tier", "Tier", self.tier), ("name", "Name", self.name)),
        ]
        for number, row in enumerate(rows):
            for column, (tip, label, control) in enumerate(row):
                grid.addWidget(ToneLabel(label), number, 2 * column)
                grid.addWidget(control, number, 2 * column + 1)
                # Default minimum widths would make the dock too wide.
                control.setMinimumWidth(1)
                if tip:
                    describe(control, TIPS[tip], label)
        # Room for three lines, so that the form does not change its height.
        self.summary.setMinimumHeight(3 * self.summary.fontMetrics().lineSpacing())
        grid.addWidget(self.summary, len(rows), 0, 1, 3)
        grid.addWidget(self.button, len(rows), 3)
        grid.setRowStretch(len(rows) + 1, 1)
        for column in (1, 3):
            grid.setColumnStretch(column, 1)

    # -- what the user does -----------------------------------------------------------
    def plan(self) -> SweepPlan:
        """Return the plan in the form.

        Raises
        ------
        ValueError
            If a field is not valid; the message names the field as the form does.
        """
        return SweepPlan(
            neurons=numbers_in(self.neurons.text(), "Neurons"),
            history_samples=histories_in(self.history.text(), self._controller.state.spec),
            video=_chosen(self.video),
            behavior=_chosen(self.behavior),
            seeds=tuple(range(self.draws.value())),
            tier=self.tier.currentText() or "test",
            # 0 means no limit, which the plan writes as None.
            max_windows=self.windows.value() or None,
        )

    def _press(self) -> None:
        try:
            plan = self.plan()
        except ValueError:
            return  # the summary shows the error
        self.start.emit(plan, self.name.text().strip())

    # -- from state to screen ---------------------------------------------------------
    def _draw_window(self) -> None:
        """Offer histories that fit into windows of the chosen model."""
        usual = usual_history(self._controller.state.spec)
        if usual != self._usual_history:
            self._usual_history = usual
            self.history.setText(usual)

    def _draw_session(self) -> None:
        session = self._controller.state.session
        set_items(self.tier, [(tier, tier) for tier in tiers_of(session)])
        if session is not None:
            # The largest context depends on the size of the population.
            self.neurons.setText(fitting_neurons(session))
            _limit(self.video, is_available=session.stimulus is not None)
            _limit(self.behavior, is_available=bool(session.behavior_names))
        self._draw_summary()

    def _draw_summary(self) -> None:
        sweeps, state = self._controller.sweeps, self._controller.state
        # Only one background sweep runs at a time.
        self.button.setEnabled(state.session is not None and not sweeps.is_busy)
        try:
            estimate = sweeps.estimate(self.plan())
        except ValueError as error:
            self.summary.set_tone("alert")
            self.summary.setText(str(error))
            self.button.setEnabled(False)
            return
        self.summary.set_tone("quiet")
        self.summary.setText("" if estimate is None else estimate.text)


def _choice(name: str) -> SegmentedButton:
    choices = (
        Choice(BOTH, "both", f"{name}: one curve with it and one without"),
        Choice((True,), "with", f"{name}: visible to the model"),
        Choice((False,), "no", f"{name}: hidden from the model"),
    )
    button = SegmentedButton(choices, name)
    button.show_value(BOTH)
    return button


def _limit(choice: SegmentedButton, *, is_available: bool) -> None:
    """Fix the choice to "no" if the session lacks this modality."""
    choice.setEnabled(is_available)
    choice.show_value(BOTH if is_available else (False,))


def _chosen(choice: SegmentedButton) -> tuple[bool, ...]:
    value = choice.value
    return value if isinstance(value, tuple) else BOTH


def _number(low: int, high: int, value: int) -> QSpinBox:
    box = scroll_past(QSpinBox())
    box.setRange(low, high)
    box.setValue(value)
    box.setStyleSheet(NARROW_BOX)
    return box
