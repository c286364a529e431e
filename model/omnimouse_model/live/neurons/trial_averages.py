"""Averages around the onsets of trials on screen, by a condition of the trials.

The engine predicts the trials of a tier, by default that of the scores, under the task
on screen, for the selected neurons, while it is idle and a view shows them. Another
condition needs no prediction.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.evaluate.tier_score import scored_tier
from omnimouse_model.analysis.peri_event import ConditionAverage, conditions
from omnimouse_model.data.recording import is_test_tier
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState

_CHOICE: Final = "choice"
"""Column of the animal's choice, which most tasks have."""


class TrialAverages:
    """The chosen condition, and the averages of a neuron over its trials.

    Parameters
    ----------
    request
        Requests the predictions on screen again, now with the trials.

    Attributes
    ----------
    changed
        Emitted after the choice of another condition or tier.
    """

    changed = Signal()

    def __init__(self, state: LiveState, results: Results, request: Callable[[], None]) -> None:
        self._state, self._results, self._request = state, results, request
        self._viewers: set[object] = set()
        self._conditions: tuple[Session | None, Mapping[str, np.ndarray]] = (None, {})
        self._scored: tuple[Session | None, WindowSpec, str] = (None, state.spec, "")
        # Another recording has other tiers.
        state.events.session.connect(self._forget_tier)

    # -- reading ----------------------------------------------------------------------
    @property
    def conditions(self) -> Mapping[str, np.ndarray]:
        """Trial columns with a few labels: name -> label of each trial."""
        session = self._state.session
        if session is not self._conditions[0]:
            found = {} if session is None else conditions(session)
            self._conditions = (session, found)
        return self._conditions[1]

    @property
    def condition(self) -> str:
        """The chosen column, else the choice, else the first one; "" without any."""
        preferred = (self._state.event_condition, _CHOICE, *self.conditions)
        return next((name for name in preferred if name in self.conditions), "")

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers of the trials; "test" stands for all test tiers."""
        session = self._state.session
        present = [] if session is None else session.trials.tier.tolist()
        names = ("test" if is_test_tier(name) else name for name in present)
        return tuple(sorted({*names} - {"none", ""}))

    @property
    def tier(self) -> str:
        """The chosen tier, else that of the scores; "" without any."""
        session, spec = self._state.session, self._state.spec
        if self._state.trial_tier or session is None:
            return self._state.trial_tier
        if session is not self._scored[0] or spec != self._scored[1]:
            self._scored = session, spec, scored_tier(session, spec)
        return self._scored[2]

    @property
    def time_s(self) -> np.ndarray | None:
        """Times of the bins relative to the onset; None before the first trials."""
        found = self._results.peri_event
        return None if found is None else found.bin_s

    def of(self, neuron: int) -> tuple[ConditionAverage, ...]:
        """Return the averages of a neuron (bin, 1) by label; () while it is unread."""
        found, name = self._results.peri_event, self.condition
        if found is None or not name or neuron not in found.neurons:
            return ()
        return found.of(neuron).averages(self.conditions[name])

    # -- actions ----------------------------------------------------------------------
    def choose(self, name: str) -> None:
        """Choose the column; raise `ValueError` if it is no condition."""
        if name not in self.conditions:
            raise ValueError(
                f"No condition {name!r}; there are {', '.join(self.conditions) or 'none'}."
            )
        if name != self._state.event_condition:
            self._state.event_condition = name
            self.changed.emit()

    def choose_tier(self, name: str) -> None:
        """Choose the tier of the trials; raise `ValueError` if no trial has it."""
        if name not in self.tiers:
            raise ValueError(
                f"No trial of a tier {name!r}; there are {', '.join(self.tiers) or 'none'}."
            )
        if name != self.tier:
            self._state.trial_tier = name
            self.changed.emit()
            if self._state.peri_event_shown:
                self._request()

    def _forget_tier(self) -> None:
        self._state.trial_tier = ""

    def show(self, is_shown: bool, viewer: object) -> None:
        """Begin or end the predictions of trials for a viewer."""
        (self._viewers.add if is_shown else self._viewers.discard)(viewer)
        is_needed = bool(self._viewers and self.conditions)
        if is_needed != self._state.peri_event_shown:
            self._state.peri_event_shown = is_needed
            if is_needed:
                self._request()
