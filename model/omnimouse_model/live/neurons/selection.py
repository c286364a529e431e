"""Selection of neurons, by clicks and by rows of tables."""

import threading
from collections.abc import Sequence

import numpy as np

from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import MAX_SELECTED, LiveState


class Selection:
    """Selected neurons, in the order of selection; only the last 64 stay selected."""

    def __init__(
        self, state: LiveState, results: Results, requests: Requests, lock: threading.RLock
    ) -> None:
        self._state, self._results = state, results
        self._requests, self._lock = requests, lock

    def select(self, neurons: Sequence[int] | np.ndarray, add: bool = False) -> None:
        """Select neurons in order, in addition to the selected ones or instead.

        Raises
        ------
        ValueError
            An index is not a neuron of the session.
        """
        state, results, client = self._state, self._results, self._requests.client
        with self._lock:
            before = state.selection if add else ()
            # A dict removes duplicates and keeps the order of selection.
            ordered = dict.fromkeys([*before, *(int(neuron) for neuron in neurons)])
            # The newest ones: adding a neuron must show it.
            selection, n = tuple(ordered)[-MAX_SELECTED:], state.open_session.n_neurons
            if selection and not 0 <= min(selection) <= max(selection) < n:
                raise ValueError(f"Neurons are 0..{n - 1}, got {selection}.")
            if selection == state.selection:
                return
            state.selection = selection
            # A fresh population prediction contains these neurons already: no new
            # request is needed, unless their sweep or their trials are on screen.
            is_predicted = results.take_selected(selection)
            has_sweep = state.sweep_shown and not results.has_tier_curves
            if has_sweep or state.peri_event_shown or not is_predicted:
                client.send()

    def toggle(self, neuron: int) -> None:
        """Add one neuron to the selection, or remove it."""
        selection = self._state.selection
        if neuron in selection:
            self.select([one for one in selection if one != neuron])
        else:
            self.select([neuron], add=True)
