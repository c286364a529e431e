"""Panel *Trials*: the table of trials, and averages around their onsets by condition."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from omnimouse_model.analysis.peri_event import MAX_LABELS, ConditionAverage, PeriEventResponses
from omnimouse_model.data.recording import part_name
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.neurons.neuron_info import NeuronInfo
from omnimouse_model.live.neurons.repeats import TrialAverages
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.text.model import failure_text
from omnimouse_widgets.views.text.units import drawn_units, unit_text

COLOURS: Final = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
"""Colours of conditions, by rank of their labels, where they are not more than these."""
NO_TRIALS: Final = "This recording has no trials."
NO_CONDITION: Final = (
    f"No column of the trials has two to {MAX_LABELS} labels, whose averages are compared."
)
SELECT: Final = "Select a neuron."
NO_TRIAL: Final = "No trial of this part of the recording can be read around its onset."
READING: Final = "◌ Reading trials…"
TABLE_LABEL: Final = "Trials of the recording; a click moves the window to a trial"
PLOT_LABEL: Final = "Averages around the onsets of trials"
PLOT_TIP: Final = (
    "Mean response of the neuron around the onsets of trials, by condition, with one\n"
    "standard error over trials. Dashed: the prediction under the current task."
)
TICK_S: Final = 0.5
"""Distance of the ticks of the time axis in seconds."""


class TrialsView(OfController):
    """List of trials on the left; on the right, averages of the neuron in focus."""

    name = "trials"

    def __init__(
        self,
        trial_averages: TrialAverages,
        navigation: Navigation,
        neuron_info: NeuronInfo,
        state: LiveState,
        results: Results,
    ) -> None:
        self._averages, self._navigation = trial_averages, navigation
        self._info, self._state, self._results = neuron_info, state, results

    def blocks(self) -> Sequence[record.Block]:
        """Return the record: current trial, list, and averages beside them."""
        events = self._state.events
        place = [events.session, events.window, self._navigation.trial_changed]
        focus = [events.selection, self._info.focus_changed]
        averages = [self._averages.changed, self._results.changed]
        return [
            # Another recording has other conditions, which may need predictions.
            record.Block(tuple, [events.session], follow=self._follow),
            record.Block(self._current, place),
            record.Block(self._list, [events.session]),
            record.Block(self._plot, [events.session, *focus, *averages], column=1),
        ]

    def _follow(self, is_visible: bool) -> None:
        """Predict trials only while the panel is visible."""
        self._averages.show(is_visible, self)

    def _current(self) -> Sequence[record.Item]:
        """Return the current trial with its conditions, and the mark of its row."""
        number, session = self._navigation.trial, self._state.session
        if number is None or session is None:
            return [
                record.Text("trial", "", is_line=True),
                record.CurrentRow("current", "trials", None),
            ]
        at = int(np.argsort(session.trials.t_on, kind="stable")[number])
        conditions = self._averages.conditions.items()
        labels = {name: f"{name} {values[at]}" for name, values in conditions if values[at]}
        # One condition, as in the plot: all of them are too long for a line.
        chosen = labels.get(self._averages.condition)
        text = " · ".join([f"trial {number + 1}", *([chosen] if chosen else [])])
        return [
            record.Text("trial", text, tip=f"{text}\n{', '.join(labels.values())}", is_line=True),
            record.CurrentRow("current", "trials", number),
        ]

    def _list(self) -> Sequence[record.Item]:
        """Return the trials in the order of time, as the steps between them."""
        session, conditions = self._state.session, self._averages.conditions
        if session is None:
            return [record.Table("trials", TABLE_LABEL, (), ())]
        order = np.argsort(session.trials.t_on, kind="stable")
        columns = [
            [f"{number + 1}" for number in range(len(order))],
            [f"{onset:z.1f} s" for onset in session.trials.t_on[order].tolist()],
            [part_name(tier) for tier in session.trial_tiers[order].tolist()],
            *(labels[order].tolist() for labels in conditions.values()),
        ]
        titles = ("trial", "onset", "part", *conditions)
        rows = tuple(zip(*columns, strict=True))
        return [record.Table("trials", TABLE_LABEL, titles, rows, self._navigation.go_to_trial)]

    def _plot(self) -> Sequence[record.Item | record.Row]:
        averages, state = self._averages, self._state
        neuron, problem = self._info.shown, ""
        found = () if neuron is None else averages.of(neuron)
        if state.session is not None and neuron is None and averages.conditions:
            problem = SELECT
        elif state.session is not None and not found:
            problem = no_average_text(averages, state, self._results)
        choices = record.Row("choices", self._choices())
        if problem or state.session is None or neuron is None or averages.time_s is None:
            return [choices, record.Message("averages", PLOT_LABEL, problem)]
        return [
            choices,
            self._text(neuron, found),
            record.Legend("legend", average_signs(found)),
            average_curves(averages.time_s, found, drawn_units(state.spec)),
        ]

    def _choices(self) -> tuple[record.Choice, ...]:
        averages = self._averages
        if not averages.conditions:
            return ()
        names = tuple((name, name, "") for name in averages.conditions)
        tiers = tuple((name, name, "") for name in averages.tiers)
        help_text = "Column of the trials whose labels are compared"
        return (
            record.Choice(
                "condition", "Condition", help_text, names, averages.condition, averages.choose
            ),
            record.Choice(
                "tier",
                "Part of the recording",
                "Part of the recording (tier) of the averaged trials",
                tiers,
                averages.tier,
                averages.choose_tier,
            ),
        )

    def _text(self, neuron: int, found: Sequence[ConditionAverage]) -> record.Text:
        """Return the line above the plot, such as `unit 7 · predicted for 12 of 20`."""
        responses, session = self._results.peri_event, self._state.session
        assert responses is not None
        assert session is not None
        total = f"{len(responses.trials):,}"
        # All in one line: with a second one, the axis of the plot would be out of view.
        if any(np.isfinite(one.predicted).any() for one in found):
            text = _predicted_text(responses, found)
        else:
            missing = "not predicted: no target" if responses.is_complete else "◌ predicting…"
            text = f"{total} trials · {missing}"
        text = f"unit {session.units.names[neuron]} · {text}"
        tip = f"{text}\n{total} {responses.tier} trials"
        return record.Text("predicted", text, "quiet", tip, is_line=True)


def no_average_text(averages: TrialAverages, state: LiveState, results: Results) -> str:
    """Return why a neuron has no averages around the onsets of trials, or has none yet."""
    if not averages.conditions:
        session = state.session
        return NO_CONDITION if session is not None and len(session.trials) else NO_TRIALS
    if results.freshness == "error":
        return failure_text(state, results)
    read = results.peri_event
    is_read = not averages.tier or (read is not None and not len(read.trials))
    return NO_TRIAL if is_read else READING


def _predicted_text(responses: PeriEventResponses, found: Sequence[ConditionAverage]) -> str:
    """Return of how many trials there are predictions, and from when to when."""
    total = f"{len(responses.trials):,}"
    n_predicted = (
        f"all {total}" if responses.is_complete else f"{responses.n_predicted:,} of {total}"
    )
    # Where no trial asks for a prediction, dashed lines have gaps.
    asked = np.any([np.isfinite(one.predicted[:, 0]) for one in found], axis=0)
    first, last = responses.bin_s[np.flatnonzero(asked)[[0, -1]]]
    part = "" if asked.all() else f", from {first:.2g} to {last:.2g} s"
    return f"predicted for {n_predicted}{part}"


def condition_colours(n: int) -> Sequence[str]:
    """Return the colours of n labels, such as those of directions, in their order."""
    if n <= len(COLOURS):
        return COLOURS[:n]
    # Without the darkest ones: the background is dark.
    places = np.linspace(64, 255, n).round().astype(int)
    return [
        f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in palette.viridis_table()[places]
    ]


def average_signs(found: Sequence[ConditionAverage]) -> tuple[tuple[str, str, str], ...]:
    """Return the legend of `average_curves`."""
    signs = [
        ("━", colour, f"{one.label} · {one.n_trials} trials")
        for colour, one in zip(condition_colours(len(found)), found, strict=True)
    ]
    if any(np.isfinite(one.predicted).any() for one in found):
        signs.append(("╍", palette.AXIS, "predicted"))
    if any(np.isfinite(one.recorded_sem).any() for one in found):
        signs.append(("░", palette.AXIS, "s.e.m. over trials"))
    return tuple(signs)


def average_curves(
    time_s: np.ndarray, found: Sequence[ConditionAverage], unit: str
) -> record.Curves:
    """Return averages (bin, 1) by condition: recorded solid, predicted dashed."""
    lines, reaches = [], [np.zeros(1)]
    for colour, one in zip(condition_colours(len(found)), found, strict=True):
        # The names are in the legend.
        recorded, predicted = one.recorded[:, 0], one.predicted[:, 0]
        shown: tuple[tuple[np.ndarray, np.ndarray, record.Dash], ...] = (
            (recorded, one.recorded_sem[:, 0], "solid"),
            (predicted, one.predicted_sem[:, 0], "dashed"),
        )
        for mean, sem, dash in shown:
            lines.append(record.Line("", colour, time_s, mean, "", error=sem, dash=dash))
            reaches += [mean - np.nan_to_num(sem), mean + np.nan_to_num(sem)]
    drawn = np.concatenate(reaches)
    drawn = drawn[np.isfinite(drawn)]
    low, high = float(drawn.min()), 1.05 * max(float(drawn.max()), 1e-9)
    first, last = float(time_s[0]), float(time_s[-1])
    onset = record.Line("", palette.AXIS, np.zeros(2), np.array([low, high]), "", dash="dotted")
    ticks = TICK_S * np.arange(np.ceil(first / TICK_S), np.floor(last / TICK_S) + 1)
    return record.Curves(
        "averages",
        PLOT_LABEL,
        (onset, *lines),
        "time from the onset (s)",
        unit_text(unit),
        tuple((tick, f"{tick:zg}") for tick in ticks.tolist()),
        limits=(first, last, low, high),
        tip=PLOT_TIP,
    )
