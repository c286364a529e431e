"""Fine-tuning: a model that is there learns a session it has not seen.

    mine = om.finetune("demo", session, out="my_mouse/")

The paper's transfer: the core is frozen, and vectors of the session, of its neurons and
of an unknown animal are learned, with the neurons' biases (`train="embeddings"`); or
everything is. The run is one of `loop.train`: it lies in a folder, can be killed, and
goes on exactly.

    OUT/finetune.json                what is fine-tuned to what
    OUT/finetuned.safetensors, .json the result, for `om.load_predictor(OUT)`
    and what every run has (`saving`, `metrics_log`)
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
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import set_mean_rates
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
"""A seventh of the official rate: the core has learned before."""
VALIDATIONS = 10
AVERAGE = 0.97
"""Of the weights, over the last 33 steps: single trials are noisy."""
PATIENCE = 6
"""Validations without a better one after which a run ends."""


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
    """Teach a transformer a session; the same call goes on with what `out` holds.

    Parameters
    ----------
    predictor
        A transformer that was loaded, or what `load_predictor` takes.
    out
        Folder of the run and its result: `load_predictor(out)` loads it later.
    train
        "embeddings" learns what is the session's own, and an unknown animal's vector;
        whatever the model knew, it answers as before. "all" learns the core too; the
        result then knows this session alone.
    steps
        All steps of the run, with those before a stop; it may end sooner, where the
        held-out score no longer rises. Given no more than were done, the result is
        made of what was reached; 0 makes it of the start values alone.
    batch
        Windows of a step.
    seed
        Of the held-out windows, the order of the others, masks and start values.
    progress
        Told every step.
    cancelled
        Asked after every step.

    Returns
    -------
    TransformerPredictor
        With the weights that were best on the held-out windows.

    Raises
    ------
    FinetuneError
        The two cannot be fine-tuned to each other, or `out` holds something else.
    StoppedError
        Once `cancelled()` is true; what was reached is in `out`.

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
    config = _config(known, source, train, n_steps, batch, seed, place)
    out = Path(out)
    _claim(out, known, session, train, seed, batch)
    start = _Start(known, source, train, seed, place, cancelled)
    reports = Reports(progress, config.total_steps, out / FILE)
    reports.starting(saved_step(out))
    is_stopped = False

    def told(step: int, row: dict[str, float]) -> None:
        if step == 0 and SUMMARY not in row:
            raise FinetuneError(
                "no_score",
                f"The {len(source.held_out)} windows of session {session.id!r} that "
                "are held out have no score: the recorded responses are no numbers "
                "there. Look at its response file, or choose another seed.",
            )
        reports.step(step, row)

    def asked() -> bool:
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
    """Whether a folder holds the result of a fine-tuning."""
    return (Path(out) / FINISHED).exists()


# -- what there is --------------------------------------------------------------------
def _known(predictor: Predictor | str | Path) -> Checkpoint:
    """The model as a checkpoint, on the CPU."""
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
    """Refuse what cannot be learned, before anything is written."""
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
    """Say in `out` what is fine-tuned there; refuse a folder that holds another run."""
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


# -- how it is trained ----------------------------------------------------------------
def _config(
    known: Checkpoint,
    source: TrainingSession,
    train: Trained,
    steps: int,
    batch: int,
    seed: int,
    device: torch.device,
) -> TrainConfig:
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
    """The net that is trained: the core and the new session, and how both begin."""

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
        uses_animals = len(known.animals) > len(set(known.animals.values()))
        animal = self.source.session.animal_id or key
        if not (known.config.always_use_animal_embeddings or uses_animals):
            animal = key  # a second session of an animal would bring its vector in
        self.animal = known.animals.get(key, animal)
        self.animals = known.animals | {key: self.animal}
        own = f"sess_params.{key}."
        self.base = {
            name: value
            for name, value in known.state.items()
            if not name.startswith("sess_params.") or name.startswith(own)
        }

    def is_trained(self, name: str) -> bool:
        """Frozen is all that the checkpoint brought, unless all is trained."""
        return self.train == "all" or name not in self.base

    def fill(self, net: OmniMouse) -> None:
        """The checkpoint's weights, and first values for what it does not have."""
        net.load_state_dict(net.state_dict() | self.base)
        key = self.source.key
        if key in self.known.sessions:
            return
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
    """Write the best weights with all that the model knew before.

    Raises
    ------
    CheckpointError
        A tensor that was frozen is not what it was.
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
    if start.train == "embeddings":
        best = replace(
            best,
            state=known.state | best.state,
            sessions=known.sessions | best.sessions,
        )
    save_checkpoint(out / FINISHED, best.build(), {"finetuned": about}, known.assumed)
