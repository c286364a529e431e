"""Fine-tune an existing model to a new session.

    mine = om.finetune("demo", session, out="my_mouse/")

With `train="embeddings"`, as in the paper, the core is frozen. Trained are the vectors
of the session and its neurons, the biases of the neurons, and the vector of an unknown
animal. With `train="all"`, all parameters are trained. The run is a run of `loop.train`
in a folder: it can be killed, and resumes exactly.

    OUT/finetune.json                model, session and settings of the run
    OUT/finetuned.safetensors, .json the result, for `om.load_predictor(OUT)`
    and the files of every run (`checkpoints`, `metrics_log`)
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from omnimouse_model.atomic import atomic_path
from omnimouse_model.data.session import Session
from omnimouse_model.errors import CheckpointError, FinetuneError, StoppedError
from omnimouse_model.nets.checkpoint import FINISHED, Checkpoint, save_checkpoint
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.nets.omnimouse.initialisation import set_mean_rates
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.predict.baselines.rules import mean_rates
from omnimouse_model.predict.omnimouse.loading import (
    load_checkpoint_predictor,
    resolve_device,
    weights_hash,
)
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.registry import load_predictor
from omnimouse_model.train.batches import TrainingSession
from omnimouse_model.train.checkpoints import BEST, LAST, saved_step
from omnimouse_model.train.config import Group, Phase, TrainConfig
from omnimouse_model.train.distributed import launched_ranks
from omnimouse_model.train.finetune.held_out import hold_out
from omnimouse_model.train.finetune.neighbour_init import KEY, borrowed_embeddings
from omnimouse_model.train.finetune.progress import FinetuneProgress, Reports
from omnimouse_model.train.loop import train as run_loop
from omnimouse_model.train.metrics_log import FILE
from omnimouse_model.train.run import Origin
from omnimouse_model.train.tasks import Streams, official_tasks
from omnimouse_model.train.validate import SUMMARY

Trained = Literal["embeddings", "all"]
ABOUT = "finetune.json"
STEPS = 300
BATCH = 8
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


def finetune(
    predictor: Predictor | str | Path,
    session: Session,
    out: str | Path,
    *,
    train: Trained = "embeddings",
    steps: int | None = None,
    batch: int = BATCH,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[FinetuneProgress], None] = lambda told: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TransformerPredictor:
    """Fine-tune a transformer to a session; the same call resumes a run in `out`.

    Parameters
    ----------
    predictor
        A loaded transformer, or an argument of `load_predictor`.
    out
        Folder of the run and its result, which `load_predictor(out)` loads.
    train
        "embeddings" trains the parameters of the session and the vector of an unknown
        animal; predictions for sessions that the model knows do not change. "all"
        trains the core too; the result then contains this session only.
    steps
        Total number of steps, including those before a resume. The run ends earlier if
        the held-out score stops rising. If the run already has at least as many steps,
        the result is written from its saved weights; 0 writes the start values.
    batch
        Number of windows per step.
    seed
        Seed of the held-out windows, the window order, masks and start values.
    progress
        Called with a report after every step.
    cancelled
        Called after every step; True stops the run.

    Returns
    -------
    TransformerPredictor
        The model with the best weights on the held-out windows.

    Raises
    ------
    FinetuneError
        The model cannot be fine-tuned to this session, or `out` holds another run.
    StoppedError
        `cancelled()` returned True; the run is saved in `out`.

    Examples
    --------
    One step, so that the example is quick:

    >>> mine = om.finetune("demo", session, "my_mouse", steps=1, batch=1)
    >>> session.id in mine.needs.sessions
    True
    >>> same = om.load_predictor("my_mouse")
    >>> same.needs.n_neurons[session.id]
    40
    """
    if launched_ranks() > 1:
        raise FinetuneError(
            "processes", "Fine-tuning runs in one process: start it without torchrun."
        )
    known = _known(predictor)
    _check(known, session, train)
    place = resolve_device(device)
    source = hold_out(session, seed)
    n_steps = STEPS if steps is None else steps
    config = _config(known, source, train, n_steps, batch, seed)
    out = Path(out)
    _claim(out, known, session, train, seed, batch)
    start = _Start(known, source, train, seed, place, cancelled)
    reports = Reports(progress, config.total_steps, out / FILE)
    reports.starting(saved_step(out))
    is_stopped = False

    def told(step: int, row: dict[str, float]) -> None:
        # Without a score, no weights would ever be the best ones: fail before training.
        if step == 0 and SUMMARY not in row:
            raise FinetuneError(
                "no_score",
                f"The {len(source.held_out)} windows of session {session.id!r} that "
                "are held out have no score: the recorded responses are no numbers "
                "there. Look at its response file, or choose another seed.",
            )
        reports.step(step, row)

    def asked() -> bool:
        # Remembered, because a stopped run and a finished one must end differently even
        # if `cancelled` returns True only once.
        nonlocal is_stopped
        is_stopped = is_stopped or cancelled()
        return is_stopped

    run_loop(
        config,
        [source],
        out,
        device=place,
        origin=Origin(start.animals, start.fill, start.is_trained),
        on_step=told,
        cancelled=asked,
    )
    if is_stopped:
        raise StoppedError(
            f"stopped at step {reports.last.step} of {config.total_steps}; saved in "
            f"{out}: the same call goes on from there."
        )
    reports.saving()
    _finish(out, start, reports.last, seed)
    return load_checkpoint_predictor(out, device=device)


def is_finished(out: str | Path) -> bool:
    """Return True if a folder contains the result of a fine-tuning."""
    return (Path(out) / FINISHED).exists()


# -- checks ---------------------------------------------------------------------------
def _known(predictor: Predictor | str | Path) -> Checkpoint:
    """Return the model as a checkpoint on the CPU."""
    if isinstance(predictor, str | Path):
        predictor = load_predictor(predictor, device="cpu")
    if not isinstance(predictor, TransformerPredictor):
        raise FinetuneError(
            "no_transformer",
            f"{predictor.predictor_id!r} is no transformer, and has no embeddings to "
            "fine-tune: choose 'demo', 'omnimouse-5M' or a checkpoint. Baselines are "
            "fitted to any session as they are.",
        )
    net = predictor.net
    return Checkpoint(
        config=net.config,
        state={k: v.detach().cpu() for k, v in net.state_dict().items()},
        sessions={key: net.session(key).n_neurons for key in net.sess_params},
        animals=dict(net.animals),
        source=predictor.predictor_id,
        assumed=predictor.assumed,
    )


def _check(known: Checkpoint, session: Session, train: Trained) -> None:
    """Check model, session and mode before anything is written."""
    if train not in get_args(Trained):
        raise ValueError(f"train is one of {get_args(Trained)}, found {train!r}.")
    n_known = known.sessions.get(session.id)
    if n_known is not None and n_known != session.n_neurons:
        raise FinetuneError(
            "neurons",
            f"{known.source!r} knows session {session.id!r} with {n_known:,} neurons, "
            f"this recording has {session.n_neurons:,}: is it the same export? Give "
            "the other one another name.",
        )
    if n_known is not None and train == "embeddings":
        raise FinetuneError(
            "known",
            f"{known.source!r} knows session {session.id!r} already: use it as it is, "
            'or fine-tune all of it to the session (train="all").',
        )
    # Parameter names use dots as separators, and torch refuses module names with dots.
    if "." in session.id:
        raise FinetuneError(
            "session_id",
            f"Session {session.id!r} has a dot in its name, which no checkpoint can "
            "hold: rename its folder, or its data_key.",
        )


def _claim(
    out: Path,
    known: Checkpoint,
    session: Session,
    train: Trained,
    seed: int,
    batch: int,
) -> None:
    """Write the settings of the run into `out`; refuse a folder with another run."""
    about = {
        "model": known.source,
        "weights": weights_hash(known.state),
        "session": session.id,
        "recording": session.fingerprint,
        "train": train,
        "seed": seed,
        "batch": batch,
    }
    path = out / ABOUT
    if path.exists():
        there = json.loads(path.read_text("utf-8"))
        # [1:] leaves out the model's name: a file can be renamed or moved, and the hash
        # of the weights identifies the model.
        other = [name for name in list(about)[1:] if there.get(name) != about[name]]
        if other:
            told = ", ".join(f"{n} {there.get(n)!r}, not {about[n]!r}" for n in other)
            raise FinetuneError(
                "other_run",
                f"{out} holds another fine-tuning ({told}): choose another folder.",
            )
        return
    if (out / LAST).exists() or (out / FILE).exists():
        raise FinetuneError(
            "other_run", f"{out} holds a training run: choose another folder."
        )
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", "utf-8")


# -- training -------------------------------------------------------------------------
def _config(
    known: Checkpoint,
    source: TrainingSession,
    train: Trained,
    steps: int,
    batch: int,
    seed: int,
) -> TrainConfig:
    """Return the training config of a fine-tuning run."""
    validate_every = max(1, steps // VALIDATIONS)
    phase = Phase(
        name=train,
        steps=steps,
        batch=batch,
        tasks=official_tasks(
            Streams.of(source.session, known.config.behavior_channels)
        ),
        warmup=min(20, steps),
        decay=0.5,
        behavior_weight=known.config.behavior_loss_factor,
    )
    return TrainConfig(
        seed=seed,
        model=known.config,
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


@dataclass(slots=True)
class _Start:
    """Start values of a fine-tuning: the core of a model, and a new session.

    Attributes
    ----------
    animal
        Name of the session's animal in the net.
    animals
        session key -> animal, for known sessions and the new one.
    base
        Weights from the checkpoint, without parameters of other sessions.
    """

    known: Checkpoint
    source: TrainingSession
    train: Trained
    seed: int
    device: torch.device
    cancelled: Callable[[], bool]
    animal: str = field(init=False)
    animals: dict[str, str] = field(init=False)
    base: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        known, key = self.known, self.source.key
        # The net uses animal vectors if the config says so, or if an animal has several
        # sessions (`OmniMouse.meta_vector`). If it did not use them so far, a second
        # session of an animal would switch them on and change all predictions: the new
        # session then counts as an animal of its own.
        uses_animals = len(known.animals) > len(set(known.animals.values()))
        animal = self.source.session.animal_id or key
        if not (known.config.always_use_animal_embeddings or uses_animals):
            animal = key
        self.animal = known.animals.get(key, animal)
        self.animals = known.animals | {key: self.animal}
        own = f"sess_params.{key}."
        self.base = {
            name: value
            for name, value in known.state.items()
            if not name.startswith("sess_params.") or name.startswith(own)
        }

    def is_trained(self, name: str) -> bool:
        """Return True for new parameters, or for all with `train="all"`."""
        return self.train == "all" or name not in self.base

    def fill(self, net: OmniMouse) -> None:
        """Write the checkpoint's weights, and start values of new parameters."""
        net.load_state_dict(net.state_dict() | self.base)
        key = self.source.key
        if key in self.known.sessions:
            return
        # New vectors start at the mean of those with which the core was trained.
        state, meta = self.known.state, {}
        name = f"{ANIMALS}{self.animal}"
        if name not in state:
            meta[name] = _mean([v for k, v in state.items() if k.startswith(ANIMALS)])
        vector = _mean(
            [state[f"sess_params.{k}._session_embedding"] for k in self.known.sessions]
        )
        neurons = borrowed_embeddings(
            self.known,
            self.source.session,
            self.source.starts,
            meta | {f"sess_params.{KEY}._session_embedding": vector},
            self.animal,
            device=self.device,
            seed=self.seed,
            cancelled=self.cancelled,
        )
        own = f"sess_params.{key}"
        net.load_state_dict(
            net.state_dict()
            | meta
            | {f"{own}._session_embedding": vector}
            | {f"{own}._neuron_embeddings.weight": neurons}
        )
        set_mean_rates(net, key, mean_rates(self.source.session))


def _mean(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors).mean(dim=0)


# -- the result -----------------------------------------------------------------------
def _finish(out: Path, start: _Start, last: FinetuneProgress, seed: int) -> None:
    """Write the best weights, together with the known sessions of the model.

    Raises
    ------
    CheckpointError
        A frozen tensor has changed.
    """
    known, best = start.known, read_checkpoint(out / BEST)
    frozen = {k: v for k, v in start.base.items() if not start.is_trained(k)}
    frozen_hash = weights_hash(frozen)
    if weights_hash({k: best.state[k] for k in frozen}) != frozen_hash:
        raise CheckpointError(
            f"{out / BEST} does not hold the frozen weights of {known.source}: it was "
            "written over. Remove the folder and fine-tune again."
        )
    trained = [best.state[k] for k in best.state if start.is_trained(k)]
    assert best.card is not None
    about: dict[str, Any] = {
        "model": known.source,
        "session": start.source.key,
        "animal_was_known": start.animal in known.animals.values(),
        "train": start.train,
        "frozen_hash": frozen_hash if frozen else None,
        "n_trained": sum(v.numel() for v in trained),
        "steps": last.step,
        "best_step": best.card["steps"],
        "before": last.before,
        "validation": best.card.get("validation"),
        "seed": seed,
        "minutes": round(last.row["seconds"] / 60, 1),
    }
    # Other sessions remain valid only with an unchanged core.
    if start.train == "embeddings":
        best = replace(
            best,
            state=known.state | best.state,
            sessions=known.sessions | best.sessions,
        )
    save_checkpoint(out / FINISHED, best.build(), {"finetuned": about}, known.assumed)
