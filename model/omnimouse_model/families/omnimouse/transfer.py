"""Fine-tuning of OmniMouse: vectors of a new session and its neurons, on a frozen core.

With `train="embeddings"`, as in the paper, trained are the vectors of the session and its
neurons, the biases of the neurons, and the vector of an unknown animal. With "all", all
parameters are trained.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.session_index import NeuronMatch, match_neurons
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.evaluation.tier_windows import mean_rates, spread_starts
from omnimouse_model.families.omnimouse import STEP_CELLS, VALIDATION_CELLS, VIDEO_CELLS
from omnimouse_model.families.omnimouse.batches import (
    Group,
    Phase,
    Streams,
    TrainConfig,
    official_tasks,
)
from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint, read_checkpoint
from omnimouse_model.families.omnimouse.config import Layout
from omnimouse_model.families.omnimouse.context_part import (
    OmniMousePredictor,
    OmniMouseWithContext,
    context_seconds,
    fit_context,
    load_checkpoint_predictor,
)
from omnimouse_model.families.omnimouse.network import OmniMouse, set_mean_rates
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.omnimouse.token_layout import layout_of
from omnimouse_model.families.omnimouse.tokens import batch_from_windows, layout_from_mask
from omnimouse_model.families.omnimouse.training import DEMO, Origin, train
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import SAVING, STARTING, CallbackJob, Job, step_text
from omnimouse_model.training.checkpoints import BEST, FINISHED
from omnimouse_model.training.config import NeuronTransferOptions, Trained
from omnimouse_model.training.loop import SUMMARY
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_model.training.sessions import TrainingSession
from omnimouse_model.training.transfer import check_name, check_unknown, hold_out, result_card

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


def transfer_omnimouse(
    predictor: Predictor, session: Session, options: NeuronTransferOptions, out: Path, job: Job
) -> OmniMousePredictor:
    """Fine-tune a transformer to a session (`Transfer.start`)."""
    check_unknown(predictor, session, options.train)
    check_name(session)
    model = _checkpoint_of(predictor)
    known = options.neurons_of
    shared = None if known is None else _shared(model, session, known)
    # Windows are held out by the seed, so a resumed run has the same split.
    source, device = hold_out(session, options.seed), resolve_device(job.device)
    config = _config(model, source, options)
    course = _Course.of(job, config, source, out, fits_context=bool(model.context))
    starting = course.starting()
    start = StartValues(model, source, options.train, options.seed, device, starting, shared)
    starting.progress(0.0, 1.0, STARTING)

    def check_score(step: int, row: dict[str, float]) -> None:
        # Without a score, no weights would ever be the best ones: fail before training.
        if step == 0 and SUMMARY not in row:
            raise FinetuneError(
                "no_score",
                f"The {len(source.held_out)} windows of session {session.id!r} that "
                "are held out have no score: the recorded responses are no numbers "
                "there. Look at its response file, or choose another seed.",
            )

    origin = Origin(start.animals, start.fill, start.is_trained)
    training = course.training()
    train(config, [source], out, device=device, origin=origin, on_step=check_score, job=training)
    _write_result(out, start, config, device, course)
    return load_checkpoint_predictor(out, job.device)


# -- the time of all parts --------------------------------------------------------------
@dataclass(slots=True)
class _Course:
    """Reports a fine-tuning as one share of the time that all its parts take.

    How long the model takes for a neuron in a window is measured in each part, and tells
    the time of those that follow.

    Attributes
    ----------
    steps, every, step_cells, validation_cells
        Number of steps; steps between validations; neurons in windows that take as long
        as a step, and as a validation.
    window_cells, context_cells, context_s
        The same of a window that is predicted as a whole, and of all for a context part;
        seconds of its fit, 0 without one.
    cell_s
        Seconds for a neuron in a window, of which half of the samples are predicted.
    other_s
        Seconds of start values and context part so far.
    """

    job: Job
    window_cells: int
    steps: int
    every: int
    step_cells: float
    validation_cells: float
    context_s: float
    context_cells: float
    cell_s: float = 0.0
    other_s: float = 0.0
    _begin_s: float = field(default_factory=monotonic)
    _share: float = 0.0
    _plain: tuple[int, float] = (0, 0.0)
    _scored: tuple[int, float] = (0, 0.0)

    @classmethod
    def of(
        cls,
        job: Job,
        config: TrainConfig,
        source: TrainingSession,
        out: Path,
        *,
        fits_context: bool,
    ) -> "_Course":
        """Return the course of a run that begins now."""
        session, (phase,) = source.session, config.phases
        n, n_scored = session.n_neurons + VIDEO_CELLS, len(source.held_out)
        # Validations predict about half of the samples of a window.
        window_cells = n + session.n_neurons
        n_scored = min(n_scored, config.validation_windows or n_scored)
        fit_s = cells = 0.0
        if fits_context:
            fit_s = sum(context_seconds(session, OMNIMOUSE, 0.0))
            n_windows = sum(context_seconds(session, OMNIMOUSE, 1.0)) - fit_s
            cells = n_windows * window_cells
        validation_cells, cell_s = len(DEMO) * n_scored * n * VALIDATION_CELLS, 0.0
        if (out / FILE).exists():
            # A run that goes on: the first row is of the validation of the start values.
            first = next(log_rows(out / FILE), {})
            cell_s = first.get("seconds", 0.0) / max(validation_cells, 1)
        return cls(
            job,
            window_cells,
            phase.steps,
            config.validate_every,
            phase.batch * n * STEP_CELLS,
            validation_cells,
            fit_s,
            cells,
            cell_s,
        )

    def starting(self) -> Job:
        """Return the job of the start values, which are `WINDOWS` of the candidates."""
        begin_s = monotonic()

        def report(done: int | float, total: int | float, step: str) -> None:
            took_s, share = monotonic() - begin_s, done / total
            self.other_s = took_s
            self.cell_s = took_s / (share * WINDOWS * (CANDIDATES + VIDEO_CELLS)) if share else 0.0
            left_s = took_s * (1 - share) / share + self._training_s(0) if share else inf
            self._report(left_s + self._context_s, step)

        return self._job(report)

    def training(self) -> Job:
        """Return the job of steps and validations."""
        last: tuple[float, float] | None = None

        def report(done: int | float, total: int | float, step: str) -> None:
            nonlocal last
            if last is not None:
                self._count(done == last[0] or done % self.every == 0, monotonic() - last[1])
            last = done, monotonic()
            self._report(self._training_s(done) + self._context_s, step_text(done, total, step))

        return self._job(report)

    def context(self) -> Job:
        """Return the job of the fit of the context part."""
        begin_s, before_s, whole_s = monotonic(), self.other_s, self._context_s

        def report(done: int | float, total: int | float, step: str) -> None:
            took_s, share = monotonic() - begin_s, done / total
            self.other_s = before_s + took_s
            # Its own pace counts as much as is done: reading, the first part, is quicker than
            # expected.
            self._report((1 - share) * (took_s + (1 - share) * whole_s), step)

        return self._job(report)

    @property
    def window_s(self) -> float:
        """Seconds for all neurons of a whole window."""
        return self.cell_s * self.window_cells

    @property
    def _context_s(self) -> float:
        return self.context_s + self.context_cells * self.cell_s

    def _training_s(self, done: int | float) -> float:
        """Return the seconds of the steps that are left, and of their validations."""
        n_plain, plain_s = self._plain
        step_s = plain_s / n_plain if n_plain else self.step_cells * self.cell_s
        validation_s = self.validation_cells * self.cell_s
        n_scored = self.steps // self.every - done // self.every
        return (self.steps - done) * step_s + n_scored * validation_s

    def _count(self, is_scored: bool, took_s: float) -> None:
        """Count a step, or a step with its validation."""
        count, all_s = self._scored if is_scored else self._plain
        counted = count + 1, all_s + took_s
        if not is_scored:
            self._plain = counted
            return
        self._scored = counted
        self.cell_s = counted[1] / counted[0] / max(self.validation_cells, 1)

    def _report(self, left_s: float, step: str) -> None:
        done_s = monotonic() - self._begin_s
        # Never less than before: to a bar that would be other work.
        self._share = max(self._share, done_s / max(done_s + left_s, 1e-9))
        self.job.progress(min(self._share, 1.0), 1.0, step)

    def _job(self, report: Callable[[int | float, int | float, str], None]) -> Job:
        return CallbackJob(report, self.job.cancelled, self.job.message, self.job.device)


def _checkpoint_of(predictor: Predictor) -> OmniMouseCheckpoint:
    """Return the model as a checkpoint on the CPU."""
    context: Mapping[str, Tensor] = {}
    if isinstance(predictor, OmniMouseWithContext):
        context = predictor.context
        predictor = predictor.transformer
    assert isinstance(predictor, TransformerPredictor)
    return OmniMouseCheckpoint.of_network(
        predictor.net, source=predictor.predictor_id, assumed=predictor.assumed, context=context
    )


def _shared(model: OmniMouseCheckpoint, session: Session, known: Session) -> NeuronMatch:
    """Return the neurons that the session shares with one that the model knows."""
    n_neurons = model.sessions.get(known.id)
    if n_neurons != known.n_neurons:
        found = "does not know" if n_neurons is None else f"knows {n_neurons:,} neurons of"
        raise FinetuneError(
            "neurons_of",
            f"{model.source!r} {found} session {known.id!r}, which has {known.n_neurons:,}: "
            "neurons_of is a recording with which the model was trained.",
        )
    try:
        return match_neurons(session, known)
    except ValueError as error:
        raise FinetuneError("neurons_of", str(error)) from error


def _config(
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
    train: Trained
    seed: int
    device: torch.device
    job: Job
    shared: NeuronMatch | None = None
    animal: str = field(init=False)
    animals: dict[str, str] = field(init=False)
    base: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        model, key = self.model, self.source.key
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
        return self.train == "all" or name not in self.base

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
            neurons = neurons.clone()
            neurons[self.shared.first] = own[self.shared.second].to(neurons)
        prefix = f"sess_params.{key}"
        net.load_state_dict(
            net.state_dict()
            | meta
            | {f"{prefix}._session_embedding": vector}
            | {f"{prefix}._neuron_embeddings.weight": neurons}
        )
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
        session, device, job = self.source.session, self.device, self.job
        net = self._candidates(meta).to(device)
        streams = Streams.of(session, net.config.behavior_channels)
        count = net.session(KEY).n_neurons
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
        # (candidates, N): every known neuron with every new one.
        correlations = _correlations(np.concatenate(predicted), np.concatenate(recorded))
        best = np.argsort(-correlations, axis=0)[:N_AVERAGED]
        neighbours = net.session(KEY).neurons(torch.from_numpy(best).to(device))
        return neighbours.mean(dim=0).detach().cpu()

    def _candidates(self, meta: dict[str, Tensor]) -> OmniMouse:
        """Return the model with random neurons of all its sessions as one session."""
        model, parts = self.model, {}
        for name in ("_neuron_embeddings.weight", "_neuron_biases"):
            parts[name] = [model.state[f"sess_params.{key}.{name}"] for key in model.sessions]
        total = sum(model.sessions.values())
        rows = np.random.default_rng(self.seed).permutation(total)[:CANDIDATES]
        candidates = {
            f"sess_params.{KEY}.{name}": torch.cat(values)[torch.from_numpy(rows)]
            for name, values in parts.items()
        }
        candidates |= model.core | meta
        animals = model.animals | {KEY: self.animal}
        return replace(model, state=candidates, sessions={KEY: len(rows)}, animals=animals).build()


def _mean(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors).mean(dim=0)


@torch.inference_mode()
def _predict(net: OmniMouse, windows: list[Window], mask: Mask, layout: Layout) -> np.ndarray:
    """Return predicted rates of the scored samples (windows x 30, candidates)."""
    device = layout.query_neurons.device
    # The mask hides all responses, so their values do not matter.
    nothing = torch.zeros(60, mask.n_neurons, device=device)
    batch = batch_from_windows(
        windows, [mask] * len(windows), net.config, KEY, device, [nothing] * len(windows)
    )
    video = None
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        if not layout.video_missing:
            frames = torch.from_numpy(np.stack([w.video for w in windows]))[:, None]
            video = net.encode_video(frames.to(device), layout)
        context = net.encode(batch, layout, video)
        rates, _ = net.decode_responses(batch, layout, context)
    # Queries are sorted by sample, then by position: (B, 6 x N, 5) to (B, 6, 5, N).
    order = layout_of(mask).order
    blocks = rates.float().unflatten(1, (-1, len(order))).transpose(2, 3)
    in_order: np.ndarray = blocks.flatten(0, 2).cpu().numpy()
    # argsort inverts the permutation: from positions back to candidate indices.
    return in_order[:, np.argsort(order)]


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return correlations (p, q) of the columns of (n, p) with those of (n, q)."""
    # 1e-6: a constant neuron gets correlation 0 instead of NaN.
    a, b = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6) for x in (a, b))
    return np.asarray(a.T @ b / len(a))


# -- the result ----------------------------------------------------------------------
def _write_result(
    out: Path, start: StartValues, config: TrainConfig, device: torch.device, course: _Course
) -> None:
    """Write the best weights, together with the known sessions of the model.

    A model with a context part gets one for the session.

    Raises
    ------
    CheckpointError
        A frozen tensor has changed.
    StoppedError
        The job is cancelled during the fit of the context part.
    """
    model, best = start.model, read_checkpoint(out / BEST)
    frozen = {k: v for k, v in start.base.items() if not start.is_trained(k)}
    trained = [best.state[k] for k in best.state if start.is_trained(k)]
    about = {
        "model": model.source,
        "session": start.source.key,
        "animal_was_known": start.animal in model.animals.values(),
        "train": start.train,
        "seed": config.seed,
        "unit": "single-trial correlation",
    }
    finetuned = result_card(about, frozen, best.state, trained, out, best.card)
    # Other sessions remain valid only with an unchanged core.
    if start.train == "embeddings":
        best = replace(model.joined(best), state={**model.state, **best.state})
    context: dict[str, Tensor] = {}
    if model.context:
        if start.train == "embeddings":
            context |= model.context
        net = best.build().requires_grad_(False).to(device)
        context |= fit_context(
            TransformerPredictor(net, model.source),
            start.source.session,
            course.context(),
            course.window_s,
        )
    course.job.progress(1.0, 1.0, SAVING)
    card = {"finetuned": {**finetuned, "other_minutes": round(course.other_s / 60, 1)}}
    replace(best, card=card, assumed=model.assumed, context=context).save(out / FINISHED)
