"""Controller of the live app: it makes the parts that change state and results.

Views receive the parts that they use. Results reach the drawing thread through `post`; by
default they arrive on the engine's thread. The controller has no behaviour of its own.
"""

import atexit
import threading
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.inference.engine import Execution, Post, call_at_once
from omnimouse_model.live.inference.pinned_stages import Load
from omnimouse_model.live.inference.tier_results import ScoreStore
from omnimouse_model.live.inference.workers import WorkerWatch
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.mask.stimulus_edits import StimulusEdits
from omnimouse_model.live.models.choice import ModelChoice
from omnimouse_model.live.models.finetune import Finetuning
from omnimouse_model.live.models.ranking import RankingOnScreen
from omnimouse_model.live.navigation import Navigation
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.neuron_info import NeuronInfo
from omnimouse_model.live.neurons.neuron_order import SimilarityOrder
from omnimouse_model.live.neurons.planes import PaintedRegion, Planes, Selection
from omnimouse_model.live.neurons.repeats import RepeatsOnScreen, TrialAverages
from omnimouse_model.live.pins import Pins
from omnimouse_model.live.project.exports import Exports
from omnimouse_model.live.project.project import Project
from omnimouse_model.live.project.saved_screen import AnalysisScreen
from omnimouse_model.live.results import Results
from omnimouse_model.live.session_loader import ClockCheck, FolderIndex, SessionLoader
from omnimouse_model.live.sources import Sources
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import StateStore
from omnimouse_model.live.sweeps import Sweeps


class Controller:
    """Composition of the live state, the results, and the parts that change them.

    Parameters
    ----------
    state
        Initial live state; a new one by default.
    post
        Runs a function on the drawing thread.
    load
        Makes a predictor from a name and a device, on the engine's thread; by default
        in a worker process.
    synchronous
        Compute inside each method, in this process: for scripts and tests.
    session_file
        File that stores the screen's content across restarts and crashes; the user's
        `live.json` when True, no file by default.
    scores
        Where scores over a tier are stored; by default in the user's cache if there is
        a session file, else nowhere.

    Attributes
    ----------
    loader, recordings, clock_check
        Open recordings; list the recordings of a folder; check the clocks of the open
        session.
    navigation
        Moves of the window and of the cursor, steps between trials.
    editor, stimulus_edits, painted_region
        Strokes, presets and undo; edits of video and behaviour, which are predicted but
        never scored; growth of the region painted with the brush's code.
    model, downloads, finetuning, ranking
        Choice of predictor, baseline and device; downloads of models from the hub;
        fine-tuning of the chosen model to the open recording; ranking of pretraining
        sessions.
    requests, baseline, workers
        Requests to predictor and baseline: repeat, cancel, wait; results of the
        baseline; watch over the processes of models that do not answer any more.
    selection, colouring, planes
        Selected neurons; quantity that colours the neurons; imaging planes shown.
    neuron_info, neuron_order, repeats, trial_averages
        Properties of single neurons; their order by similarity; repeats of the clip on
        screen; averages around the onsets of trials.
    pins, sweeps, laboratory, sources
        Pinned conditions, and predictions over longer spans; context sweeps over many
        windows; experiments on the chosen model; what drives a neuron.
    store, project, exports
        What is stored for the next start; saved analyses; exported tables and arrays.
    """

    def __init__(
        self,
        state: LiveState | None = None,
        *,
        post: Post = call_at_once,
        load: Load | None = None,
        synchronous: bool = False,
        session_file: Path | bool = False,
        scores: ScoreStore | None = None,
    ) -> None:
        self.state = state = state or LiveState()
        self.results = results = Results()
        # Re-entrant: signals emitted under the lock call listeners that call parts.
        lock = threading.RLock()
        load = load or (load_in_process if synchronous else WorkerPredictor)
        # Only the two default loaders read the hub's cache; a custom `load` resolves
        # names by itself, so nothing must be fetched for it.
        is_hub_used = load in (load_in_process, WorkerPredictor)
        execution = Execution(post, synchronous)
        self.workers = WorkerWatch(execution)
        load = self.workers.watched(load)
        # A screen that returns after a restart returns with its scores.
        score_store = scores or (ScoreStore() if session_file else None)
        self.store = store = StateStore(session_file)

        # Order: a part is made before the parts that use it or listen to it.
        self.requests = requests = Requests(
            state, results, load, lock, execution, score_store, self.workers
        )
        client, self.baseline = requests.client, requests.baseline.results
        self.navigation = Navigation(state, results, requests, lock)
        self.editor = editor = MaskEditor(state, results, requests, lock)
        self.selection = Selection(state, results, requests, lock)
        self.model = model = ModelChoice(
            state, requests, store, lock, execution, is_hub_used=is_hub_used
        )
        self.downloads = model.downloads
        self.loader = SessionLoader(state, editor, requests, store, lock, execution)
        self.recordings = FolderIndex(execution)
        self.clock_check = ClockCheck(state, execution)
        self.neuron_info = NeuronInfo(state, execution)
        self.neuron_order = SimilarityOrder(state, execution)
        self.laboratory = Laboratory(client, load, execution)
        self.sources = Sources(client, load, execution)
        self.pins = Pins(requests, lock, model, editor)
        self.colouring = Colouring(
            state,
            results,
            self.baseline,
            self.pins,
            self.neuron_info,
            self.laboratory,
            self.sources,
            execution,
        )
        self.repeats = RepeatsOnScreen(state, self.navigation.seek_nearest, execution)
        self.trial_averages = TrialAverages(state, results, client.send)
        self.planes = Planes(state)
        self.painted_region = PaintedRegion(state, editor, self.planes.visible_among)
        self.stimulus_edits = StimulusEdits(state, results, editor)
        self.sweeps = Sweeps(client, load, execution)
        self.finetuning = Finetuning(
            client, model.choose, model.stand_in, lambda: model.replaced, execution
        )
        self.ranking = RankingOnScreen(execution)
        self.exports = Exports(state, results, self.colouring, execution)
        screen = AnalysisScreen(
            state,
            results,
            self.loader,
            model,
            editor,
            self.pins,
            self.sweeps,
            self.laboratory,
            self.sources,
            self.colouring,
            self.planes,
        )
        self.project = Project(screen, store, lock, execution)
        _OPEN.add(self)

    def close(self, timeout_s: float = 5.0) -> None:
        """Save the session for the next start, and end the engine and its process.

        `timeout_s` applies to each background task in turn.
        """
        # The loader first: a session that it opened after `project.close` would not be
        # saved.
        for part in (
            self.loader,
            self.project,
            self.recordings,
            self.clock_check,
            self.neuron_info,
            self.repeats,
            self.neuron_order,
            self.colouring,
            self.downloads,
            self.sweeps,
            self.laboratory,
            self.sources,
            self.finetuning,
            self.ranking,
            self.exports,
        ):
            part.close(timeout_s)
        self.requests.close(timeout_s)
        # Last: it ends what a stopped process has kept from ending.
        self.workers.close()
        _OPEN.discard(self)


_OPEN: "WeakSet[Controller]" = WeakSet()
_EXIT_S = 2.0
"""Seconds for each background task at exit."""


@atexit.register
def _close_all() -> None:
    """Close the controllers that a script has left open.

    Python stops daemon threads at any instruction: a process that one of them was starting
    would find no arguments, and print a traceback.
    """
    for controller in list(_OPEN):
        controller.close(_EXIT_S)


Made = TypeVar("Made")


class OfController:
    """Class whose objects are made from the parts of a controller that they use.

    A parameter without a default has the name of its part: `state` is
    `controller.state`. No object holds the controller itself.
    """

    @classmethod
    def of(cls: type[Made], controller: Controller, **others: Any) -> Made:
        """Make an object from parts of a controller; `others` are its further parameters."""
        parameters = signature(cls).parameters.values()
        parts = [one.name for one in parameters if one.default is Parameter.empty]
        return cls(
            **{name: getattr(controller, name) for name in parts if name not in others}, **others
        )
