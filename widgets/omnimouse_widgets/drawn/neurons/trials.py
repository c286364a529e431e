"""Trials on screen: their table, and averages around their onsets by condition."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.analysis.peri_event import ConditionAverage
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.units import drawn_units

COLOURS: Final = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
"""Colours of conditions, by rank of their labels."""
NO_CONDITION: Final = "No column of the trials has a few labels."
TABLE_TIP: Final = "Trials of the session; a click moves the window to a trial"
TIER_TIP: Final = "Tier of the averaged trials"
PLOT_TIP: Final = (
    "Mean response of the neuron around the onsets of trials, by condition, with one\n"
    "standard error over trials. Dashed: the prediction under the current task."
)


@dataclass(frozen=True, slots=True, eq=False)
class AverageLine:
    """Average of one condition as it is drawn.

    Attributes
    ----------
    label
        Label and number of trials, such as "left · 12 trials".
    recorded, predicted
        Means (bin,), NaN where unknown; the errors have the same shape.
    """

    label: str
    colour: str
    recorded: np.ndarray
    recorded_sem: np.ndarray
    predicted: np.ndarray
    predicted_sem: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class AveragePlot:
    """Averages of the neuron in focus; `text` says what they are, or what is missing.

    Attributes
    ----------
    time_s
        Times of the bins relative to the onset.
    unit
        Unit of the responses.
    """

    time_s: np.ndarray
    lines: tuple[AverageLine, ...]
    text: str
    unit: str = ""

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value that is drawn, with 0 in between."""
        drawn = [np.zeros(1)]
        for line in self.lines:
            for mean, error in (
                (line.recorded, line.recorded_sem),
                (line.predicted, line.predicted_sem),
            ):
                reach = np.nan_to_num(error)
                drawn += [mean - reach, mean + reach]
        values = np.concatenate(drawn)
        values = values[np.isfinite(values)]
        return float(values.min()), max(float(values.max()), 1e-9)


def average_plot(controller: Controller) -> AveragePlot:
    """Return the averages of the neuron in focus by the chosen condition."""
    averages, state = controller.trial_averages, controller.state
    nothing = np.zeros(0)
    if state.session is None:
        return AveragePlot(nothing, (), "")
    if not averages.conditions:
        return AveragePlot(nothing, (), NO_CONDITION)
    neuron = controller.neuron_info.shown
    if neuron is None:
        return AveragePlot(nothing, (), "Select a neuron.")
    found, time_s = averages.of(neuron), averages.time_s
    if not found or time_s is None:
        return AveragePlot(nothing, (), "◌ Reading trials…")
    lines = tuple(
        AverageLine(
            f"{one.label} · {one.n_trials} trials",
            COLOURS[rank % len(COLOURS)],
            *(one.recorded[:, 0], one.recorded_sem[:, 0]),
            *(one.predicted[:, 0], one.predicted_sem[:, 0]),
        )
        for rank, one in enumerate(found)
    )
    text = _text(controller, neuron, found)
    return AveragePlot(time_s, lines, text, drawn_units(state.spec))


def _text(controller: Controller, neuron: int, found: tuple[ConditionAverage, ...]) -> str:
    """Return e.g. `neuron 7 · 20 test trials · predicted for 12`."""
    responses, session = controller.results.peri_event, controller.state.session
    assert responses is not None
    assert session is not None
    total = len(responses.trials)
    text = f"neuron {session.units.names[neuron]} · {total:,} {responses.tier} trials"
    if not any(np.isfinite(one.predicted).any() for one in found):
        is_due = not responses.is_complete
        return f"{text} · {'◌ predicting…' if is_due else 'not predicted: no target'}"
    n_predicted = "all" if responses.is_complete else f"{responses.n_predicted:,}"
    # Where no trial asks for a prediction, dashed lines have gaps.
    asked = np.any([np.isfinite(one.predicted[:, 0]) for one in found], axis=0)
    first, last = responses.bin_s[np.flatnonzero(asked)[[0, -1]]]
    part = "" if asked.all() else f", target from {first:.2g} to {last:.2g} s"
    return f"{text} · predicted for {n_predicted}{part}"


@dataclass(frozen=True, slots=True)
class TrialTable:
    """The table of trials: titles, and a text per trial and column.

    Attributes
    ----------
    rows
        One row per trial in the order of time: number, onset, tier, conditions.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def trial_table(controller: Controller) -> TrialTable:
    """Return the trials of the session in the order of time, with their conditions."""
    session = controller.state.session
    if session is None:
        return TrialTable((), ())
    trials, conditions = session.trials, controller.trial_averages.conditions
    order = np.argsort(trials.t_on, kind="stable")
    columns = [
        [f"{number + 1}" for number in range(len(order))],
        [f"{onset:z.1f} s" for onset in trials.t_on[order].tolist()],
        trials.tier[order].tolist(),
        *(labels[order].tolist() for labels in conditions.values()),
    ]
    titles = ("trial", "onset", "tier", *conditions)
    return TrialTable(titles, tuple(zip(*columns, strict=True)))


def current_trial(controller: Controller) -> tuple[int | None, str]:
    """Return the row of the current trial, and its conditions as text."""
    number, session = controller.navigation.trial, controller.state.session
    if number is None or session is None:
        return None, ""
    at = int(np.argsort(session.trials.t_on, kind="stable")[number])
    conditions = controller.trial_averages.conditions.items()
    parts = [f"{name} {labels[at]}" for name, labels in conditions if labels[at]]
    return number, " · ".join([f"trial {number + 1}", *parts])
