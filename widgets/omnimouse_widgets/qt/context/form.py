"""Form for a background sweep, with its cost and a start button."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.form import SettingsForm
from omnimouse_widgets.qt.style.controls import push_button
from omnimouse_widgets.qt.style.form import row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.form import Form
from omnimouse_widgets.views.sweep import START_TIP, SweepSettings


class SweepForm(QWidget):
    """Settings of a sweep; emits `start` with the plan and a name.

    Parameters
    ----------
    controller
        Source of `state` and `sweeps`; the form only reads them.
    """

    start = Signal(object, str)

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._spec = controller.state.spec
        self._form = Form(SweepSettings, lambda: controller.state)
        events = controller.state.events
        self.settings = SettingsForm(self._form, [events.session])
        self.settings.applied.connect(self._press)
        self.button = push_button("Start", START_TIP, self._press)
        self.summary = wrapped_label()
        # Room for three lines, so that the form does not change its height.
        self.summary.setMinimumHeight(3 * self.summary.fontMetrics().lineSpacing())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 4, 0)
        column.addWidget(self.settings)
        column.addLayout(row_of(self.summary, self.button, stretch=0))
        column.addStretch(1)
        signals = [events.session, self._form.changed, controller.sweeps.changed,
                   controller.results.changed, events.predictor_name, events.device]  # fmt: skip
        self.redraw = Redraw(
            self, (self._follow_spec, [events.window]), (self._draw_summary, signals)
        )

    def _press(self) -> None:
        # The text of the button's place says what is wrong.
        if self.button.isEnabled():
            settings = self._form.read()
            self.start.emit(settings.plan(), settings.name.strip())

    def _follow_spec(self) -> None:
        """Offer histories that fit into windows of the chosen model."""
        # Windows move often, their spec rarely.
        if self._controller.state.spec != self._spec:
            self._spec = self._controller.state.spec
            self.settings.draw()
            self._draw_summary()

    def _draw_summary(self) -> None:
        sweeps, state = self._controller.sweeps, self._controller.state
        # Only one background sweep runs at a time.
        self.button.setEnabled(state.session is not None and not sweeps.is_busy)
        try:
            estimate = sweeps.estimate(self._form.read().plan())
        except ValueError as error:
            self.summary.set_tone("alert")
            # A reason stands at its field already.
            self.summary.setText(str(error) if self._form.is_valid else "")
            self.button.setEnabled(False)
            return
        self.summary.set_tone("quiet")
        self.summary.setText("" if estimate is None else estimate.text)
