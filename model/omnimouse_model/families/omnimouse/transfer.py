"""Fine-tuning of OmniMouse: its settings, the start values of a new session, and its time.

With `train="embeddings"`, as in the paper, trained are the vectors of the session and its
neurons, the biases of the neurons, and the vector of an unknown animal. With "all", all
parameters are trained.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Window
from omnimouse_model.data.session_index import NeuronMatch, match_neurons
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.evaluation.tier_windows import mean_rates, spread_starts
from omnimouse_model.families.omnimouse import CELL_S, START_CELLS, training_cells, window_cells
from omnimouse_model.families.omnimouse.batches import (
    Group,
    Phase,
    Streams,
    TrainConfig,
    official_tasks,
)
from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint
from omnimouse_model.families.omnimouse.config import Layout
from omnimouse_model.families.omnimouse.context_part import context_seconds
from omnimouse_model.families.omnimouse.network import OmniMouse, set_mean_rates
from omnimouse_model.families.omnimouse.token_layout import layout_of
from omnimouse_model.families.omnimouse.tokens import layout_from_mask, stored_batch
from omnimouse_model.masks import Mask
from omnimouse_model.progress import STARTING, TRAINING, CallbackJob, Job, step_text
from omnimouse_model.training.config import NeuronTransferOptions
from omnimouse_model.training.sessions import TrainingSession

ANIMALS = "animal_params._animal_embeddings."
SESSION_LR = 5e-3
CORE_LR = 1e-4
"""A seventh of the official rate, because the core is already trained."""
# Number of validations over all steps, in addition to the one before the first step.
VALIDATIONS = 10
AVERAGE = 0.97
"""Decay of the average of the weights, which covers about the last 33 steps."""
PATIENCE = 6
"""Number of validations without a better score after which a run ends."""


def transfer_config(
    model: OmniMouseCheckpoint, source: TrainingSession, options: NeuronTransferOptions
) -> TrainConfig:
    """Return the training config of a fine-tuning run."""
    steps = options.steps
    validate_every = max(1, steps // VALIDATIONS)
    phase = Phase(
        name=options.train,
        steps=steps,
        batch=options.batch,
        tasks=official_tasks(Streams.of(source.session, model.config.behavior_channels)),
        warmup=min(20, steps),
        decay=0.5,
        behavior_weight=model.config.behavior_loss_factor,
    )
    return TrainConfig(
        seed=options.seed,
        model=model.config,
        phases=(phase,),
        # Weight decays of the official recipe, for core and session groups.
        core=Group(lr=CORE_LR, weight_decay=0.1),
        session=Group(lr=SESSION_LR, weight_decay=0.001),
        sampling="balanced",
        average=AVERAGE,
        validate_every=validate_every,
        validation="held-out",
        patience=PATIENCE * validate_every,
    )


# -- the time of all parts --------------------------------------------------------------
class Part(IntEnum):
    """A part of a fine-tuning, in their order."""

    START_VALUES = 0
    TRAINING = 1
    CONTEXT = 2


FIRST_STEP, SCORING_START = "first of {:g} steps", "scoring the start values"
"""What is done before a step is finished: *step 0* would say nothing."""
MEASURED = 0.1
"""Share of a part after which its pace is taken: first pieces vary more."""


@dataclass(slots=True)
class Course:
    """A fine-tuning as one share of the work of its parts.

    Work is what takes as long as predicting one neuron in a window. Only the fit of a context
    part has seconds of its own, which the measured pace turns into work. A share is never
    taken back: where it is found that more is left, the rest passes more slowly.

    Attributes
    ----------
    cells
        Work of each part; of a context part, of its predictions.
    step_cells, validation_cells
        Work of a step, and of a validation.
    every
        Steps from one validation to the next; the first one is before the first step.
    fit_s
        Seconds of the fit of a context part, 0 without one.
    cell_s
        Seconds for a neuron in a window: of the demo, until it is measured in the parts.
    took_s
        Seconds of each part so far.
    """

    job: Job
    cells: tuple[float, float, float]
    step_cells: float
    validation_cells: float
    every: int
    fit_s: float = 0.0
    cell_s: float = CELL_S
    took_s: list[float] = field(default_factory=lambda: [0.0 for _ in Part])
    _part: Part | None = None
    _begin: tuple[float, float] = (0.0, 0.0)
    _done: float = 0.0
    _rest: float = 1.0
    _text: str = ""
    _n_steps: int | float = 0

    @classmethod
    def of(
        cls, job: Job, config: TrainConfig, source: TrainingSession, *, n_scored: int, fits: bool
    ) -> "Course":
        """Return the course of a run that begins now, and fits a context part or not.

        A validation predicts `n_scored` masks of windows.
        """
        session, fit_s, n_windows = source.session, 0.0, 0.0
        if fits:
            fit_s = sum(context_seconds(session, OMNIMOUSE, 0.0))
            n_windows = sum(context_seconds(session, OMNIMOUSE, 1.0)) - fit_s
        (phase,) = config.phases
        every = config.validate_every
        step = training_cells(session.n_neurons, 1, phase.batch, 0)
        validation = training_cells(session.n_neurons, 0, phase.batch, n_scored)
        trained = phase.steps * step + (1 + phase.steps // every) * validation
        cells = START_CELLS, trained, n_windows * window_cells(session.n_neurons)
        return cls(job, cells, step, validation, every, fit_s)

    def part(self, part: Part) -> Job:
        """Return the job of start values or a context part."""

        def report(done: int | float, total: int | float, step: str) -> None:
            self._text = step_text(done, total, step)
            self._go_to(part, done / max(total, 1e-9))

        return self._job(report)

    def steps(self) -> Job:
        """Return the job that reports training steps, each after its validation."""

        def report(done: int | float, total: int | float, step: str) -> None:
            self._text, self._n_steps = step_text(done, total, step), total
            if step == TRAINING and not done:
                self._text = FIRST_STEP.format(total)
            # The first report of a new run is before its first validation.
            is_new = done == 0 and self._part != Part.TRAINING
            self._go_to_step(done, 0 if is_new else 1 + done // self.every)

        return self._job(report)

    def validation(self, step: int) -> Job:
        """Return the job of the validation after a step; it does not stop there."""

        def report(done: int | float, total: int | float, _: str) -> None:
            # Short: another line in a narrow panel would move what is below it.
            is_start = not step
            at = step_text(step, self._n_steps, TRAINING)
            self._text = SCORING_START if is_start else f"{at}: scoring"
            self._go_to_step(step, step // self.every + done / max(total, 1e-9))

        return CallbackJob(report, device=self.job.device)

    def _job(self, report: Callable[[int | float, int | float, str], None]) -> Job:
        return CallbackJob(report, self.job.cancelled, self.job.message, self.job.device)

    def _go_to_step(self, step: int | float, validations: int | float) -> None:
        cells = step * self.step_cells + validations * self.validation_cells
        self._go_to(Part.TRAINING, cells / max(self.cells[Part.TRAINING], 1e-9))

    def _go_to(self, part: Part, done: float) -> None:
        """Report that a share of a part is done; those before it are over."""
        now_s, done = monotonic(), min(done, 1.0)
        is_first = self._part is None
        if part != self._part:
            # A run that goes on begins with a share.
            self._part, self._begin, self._done = part, (done, now_s), done
        # Of the first report, what an earlier run has done.
        before_s = self._whole_s if is_first else self._left_s
        self._done = max(done, self._done)
        self._rest *= self._left_s / before_s if before_s else 1.0
        took_s = self.took_s[part] = now_s - self._begin[1]
        new = self._done - self._begin[0]
        if part != Part.CONTEXT and new > MEASURED * (1 - self._begin[0]):
            self.cell_s = took_s / new / self.cells[part]
        self.job.progress(1 - self._rest, 1.0, self._text)

    @property
    def _whole_s(self) -> float:
        return self.cell_s * sum(self.cells) + self.fit_s

    @property
    def _left_s(self) -> float:
        assert self._part is not None
        own, *later = self.cells[self._part :]
        if self._part == Part.CONTEXT:
            return (1 - self._done) * (self.cell_s * own + self.fit_s)
        return self.cell_s * ((1 - self._done) * own + sum(later)) + self.fit_s


# -- initial embeddings of new neurons, from known neurons with correlated responses
# Key of the temporary session that contains the candidate neurons.
KEY = "candidates"
CANDIDATES = 1024
WINDOWS = 128
BATCH = 4
N_AVERAGED = 8
"""Number of known neurons that are averaged for one new neuron."""
# Target samples of the mask "test/video_behavior": the last second of a window.
SCORED = slice(30, 60)


@dataclass(slots=True)
class StartValues:
    """Start values of a fine-tuning: the core of a model, and a new session.

    Attributes
    ----------
    shared
        Neurons that are also in a session of the model, which is the second one.
    animal
        Name of the session's animal in the net.
    animals
        session key -> animal, for the sessions of the model and the new one.
    base
        Weights from the checkpoint, without parameters of other sessions.
    """

    model: OmniMouseCheckpoint
    source: TrainingSession
    options: NeuronTransferOptions
    course: Course
    device: torch.device
    shared: NeuronMatch | None = field(init=False)
    animal: str = field(init=False)
    animals: dict[str, str] = field(init=False)
    base: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        model, key = self.model, self.source.key
        known = self.options.neurons_of
        self.shared = None
        if known is not None:
            n_neurons = model.sessions.get(known.id)
            if n_neurons != known.n_neurons:
                found = "does not know" if n_neurons is None else f"knows {n_neurons:,} neurons of"
                raise FinetuneError(
                    "neurons_of",
                    f"{model.source!r} {found} session {known.id!r}, which has "
                    f"{known.n_neurons:,}: neurons_of is a recording with which the model was "
                    "trained.",
                )
            try:
                self.shared = match_neurons(self.source.session, known)
            except ValueError as error:
                raise FinetuneError("neurons_of", str(error)) from error
        # The net uses animal vectors if the config says so, or if an animal has several
        # sessions (`OmniMouse.meta_vector`). If it did not use them so far, a second
        # session of an animal would switch them on and change all predictions: the new
        # session then counts as an animal of its own.
        uses_animals = len(model.animals) > len(set(model.animals.values()))
        animal = self.source.session.animal_id or key
        if not (model.config.always_use_animal_embeddings or uses_animals):
            animal = key
        self.animal = model.animals.get(key, animal)
        self.animals = model.animals | {key: self.animal}
        self.base = model.core | model.own(key)

    def is_trained(self, name: str) -> bool:
        """Return True for new parameters, or for all with `train="all"`."""
        return self.options.train == "all" or name not in self.base

    def fill(self, net: OmniMouse) -> None:
        """Write the checkpoint's weights, and start values of new parameters."""
        # The net also has parameters that the checkpoint lacks: those of the session.
        net.load_state_dict(net.state_dict() | self.base)
        key = self.source.key
        if key in self.model.sessions:
            return
        # New vectors start at the mean of those with which the core was trained.
        state, meta = self.model.state, {}
        name = f"{ANIMALS}{self.animal}"
        if name not in state:
            meta[name] = _mean([v for k, v in state.items() if k.startswith(ANIMALS)])
        vector = _mean([state[f"sess_params.{k}._session_embedding"] for k in self.model.sessions])
        neurons = self._neurons(meta | {f"sess_params.{KEY}._session_embedding": vector})
        if self.shared is not None:
            # The same neurons: their vectors are known.
            own = state[f"sess_params.{self.shared.sessions[1]}._neuron_embeddings.weight"]
            neurons[self.shared.first] = own[self.shared.second].to(neurons)
        prefix = f"sess_params.{key}"
        meta[f"{prefix}._session_embedding"] = vector
        meta[f"{prefix}._neuron_embeddings.weight"] = neurons
        net.load_state_dict(net.state_dict() | meta)
        set_mean_rates(net, key, mean_rates(self.source.session, OMNIMOUSE))

    def _neurons(self, meta: dict[str, Tensor]) -> Tensor:
        """Return initial embeddings (N, e) of the neurons, from known ones that correlate.

        Parameters
        ----------
        meta
            Initial values of the vectors of the session and its animal, by parameter name,
            for a session with the key `KEY`.

        Raises
        ------
        StoppedError
            The job is cancelled.
        """
        session, device, job = self.source.session, self.device, self.course.part(Part.START_VALUES)
        # The model with random neurons of all its sessions as one session.
        model, state = self.model, self.model.core | meta
        total = sum(model.sessions.values())
        rows = np.random.default_rng(self.options.seed).permutation(total)[:CANDIDATES]
        for name in ("_neuron_embeddings.weight", "_neuron_biases"):
            values = [model.state[f"sess_params.{key}.{name}"] for key in model.sessions]
            state[f"sess_params.{KEY}.{name}"] = torch.cat(values)[torch.from_numpy(rows)]
        animals = model.animals | {KEY: self.animal}
        sizes = {KEY: len(rows)}
        net = replace(model, state=state, sessions=sizes, animals=animals).build().to(device)
        streams = Streams.of(session, net.config.behavior_channels)
        count = net.session_sizes[KEY]
        mask = streams.limit(Mask.from_strategy("test/video_behavior", count))
        layout = layout_from_mask(mask).to(device)
        predicted: list[np.ndarray] = []
        recorded: list[np.ndarray] = []
        chosen = spread_starts(self.source.starts, WINDOWS)
        for first in range(0, len(chosen), BATCH):
            if job.cancelled():
                raise StoppedError("stopped before the first step; nothing was saved.")
            job.progress(len(recorded) / len(chosen), 1.0, STARTING)
            some = chosen[first : first + BATCH]
            windows = [session.window(float(start), OMNIMOUSE) for start in some]
            predicted.append(_predict(net, windows, mask, layout))
            recorded += [w.filled_responses[SCORED] for w in windows]
        job.progress(1.0, 1.0, STARTING)
        # (candidates, N): every known neuron with every new one.
        correlations = _correlations(np.concatenate(predicted), np.concatenate(recorded))
        best = np.argsort(-correlations, axis=0)[:N_AVERAGED]
        neighbours = net.session(KEY).neurons(torch.from_numpy(best).to(device))
        return neighbours.mean(dim=0).detach().cpu()


def _mean(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors).mean(dim=0)


@torch.inference_mode()
def _predict(net: OmniMouse, windows: list[Window], mask: Mask, layout: Layout) -> np.ndarray:
    """Return predicted rates of the scored samples (windows x 30, candidates)."""
    device, order = layout.query_neurons.device, layout_of(mask).order
    ids = torch.tensor(order, device=device).expand(len(windows), -1)
    # The mask hides all responses, so their values do not matter.
    nothing = torch.zeros(len(windows), 60, mask.n_neurons, device=device)
    is_shown = mask.behavior == "visible"
    batch = stored_batch(windows, net.config, KEY, ids, nothing, behavior=is_shown)
    video = None
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        if not layout.video_missing:
            frames = torch.from_numpy(np.stack([w.video for w in windows]))[:, None]
            video = net.encode_video(frames.to(device), layout)
        context = net.encode(batch, layout, video)
        rates, _ = net.decode_responses(batch, layout, context)
    # Queries are sorted by sample, then by position: (B, 6 x N, 5) to (B, 6, 5, N).
    blocks = rates.float().unflatten(1, (-1, len(order))).transpose(2, 3)
    in_order: np.ndarray = blocks.flatten(0, 2).cpu().numpy()
    # argsort inverts the permutation: from positions back to candidate indices.
    return in_order[:, np.argsort(order)]


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return correlations (p, q) of the columns of (n, p) with those of (n, q)."""
    # 1e-6: a constant neuron gets correlation 0 instead of NaN.
    a, b = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6) for x in (a, b))
    return np.asarray(a.T @ b / len(a))
