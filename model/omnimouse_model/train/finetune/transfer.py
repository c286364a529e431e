"""Transfer of a digital twin to a new animal, on its frozen core.

Perspective, modulation and readout are trained; core and the recurrent part of the
modulation keep their weights, as in the release. The start is a session that the model
knows, with the receptive fields of the new neurons.
"""

from dataclasses import replace
from pathlib import Path

import torch

from omnimouse_model.data.session import Session
from omnimouse_model.errors import CheckpointError, FinetuneError
from omnimouse_model.nets.checkpoint import FINISHED
from omnimouse_model.nets.twin.checkpoint import (
    MEAN,
    TwinCheckpoint,
    read_twins,
    save_twins,
)
from omnimouse_model.predict.twin.predictor import TwinPredictor
from omnimouse_model.progress import Job
from omnimouse_model.train.batches import TrainingSession
from omnimouse_model.train.checkpoints import best_or_last, saved_step
from omnimouse_model.train.finetune.held_out import hold_out
from omnimouse_model.train.finetune.records import SAVING, STARTING, result_card, write_settings
from omnimouse_model.train.finetune.start import Trained
from omnimouse_model.train.loop import OnStep
from omnimouse_model.train.twin.config import TwinTrainConfig
from omnimouse_model.train.twin.run import train_twins

FROZEN = ("core", "modulation.lstm")
"""Modules that a transfer does not train, as in the release."""
FRAMES, BURN_IN = 90, 30
VALIDATIONS = 6


def check_transfer(twin: TwinPredictor, session: Session, train: Trained) -> None:
    """Check twin, session and mode before anything is written.

    Raises
    ------
    FinetuneError
        The twin knows the session, or the session has no video.
    """
    known = twin.n_neurons.get(session.id)
    if known is not None and (train != "all" or known != session.n_neurons):
        raise FinetuneError(
            "known",
            f"{twin.predictor_id!r} knows session {session.id!r} ({known:,} neurons; "
            f"this recording has {session.n_neurons:,}): use it as it is, or train "
            'all of it (train="all").',
        )
    if session.stimulus is None:
        raise FinetuneError(
            "no_video",
            f"Session {session.id!r} has no video, which is all that a twin sees.",
        )


def transfer(
    twin: TwinPredictor,
    session: Session,
    out: Path,
    settings: tuple[Trained, int, int, int],
    device: torch.device,
    on_step: OnStep,
    job: Job,
) -> None:
    """Train the parts of a new session, and write the twin of it; see `finetune`."""
    train, n_steps, batch, seed = settings
    assert twin.checkpoint is not None  # every loaded twin has one
    source, origin = hold_out(session, seed), twin.checkpoint()
    chosen = {"train": train, "seed": seed, "batch": batch}
    write_settings(out, twin.predictor_id, twin.weights, session, chosen)
    config = _config(origin, train, n_steps, batch, seed)
    job.progress(max(0, saved_step(out)), n_steps, STARTING)
    train_twins(config, [source], out, device=device, origin=origin, on_step=on_step, job=job)
    job.progress(saved_step(out), n_steps, SAVING)
    _finish(out, twin, origin, source, settings)


def _config(
    origin: TwinCheckpoint, train: Trained, steps: int, batch: int, seed: int
) -> TwinTrainConfig:
    validate_every = max(1, steps // VALIDATIONS)
    return TwinTrainConfig(
        seed=seed,
        frame_size=origin.frame_size,
        model=origin.config,
        clips=batch,
        frames=FRAMES,
        burn_in=BURN_IN,
        start="receptive-fields",
        position_sd=0.1,
        cycles=1,
        # The rate falls from step to step.
        cycle_epochs=steps,
        epoch_steps=1,
        warmup_epochs=min(20, max(1, steps // 10)),
        frozen=FROZEN if train == "embeddings" else (),
        validate_every=validate_every,
    )


def _finish(
    out: Path,
    twin: TwinPredictor,
    origin: TwinCheckpoint,
    source: TrainingSession,
    settings: tuple[Trained, int, int, int],
) -> None:
    """Write the best weights, together with the known sessions of a frozen core.

    Raises
    ------
    CheckpointError
        A frozen tensor has changed.
    """
    train, _, _, seed = settings
    path = best_or_last(out)
    best = read_twins(path)
    own = best.sessions[source.key]
    is_frozen = train == "embeddings"
    frozen = dict(origin.core) if is_frozen else {}
    if any(not torch.equal(best.core[name], value) for name, value in frozen.items()):
        raise CheckpointError(
            f"{path} does not hold the frozen core of {twin.predictor_id}: it "
            "was written over. Remove the folder and fine-tune again."
        )
    trained = [v for k, v in own.items() if k != MEAN and not (is_frozen and k.startswith(FROZEN))]
    if not is_frozen:
        trained += list(best.core.values())
    # Other sessions remain valid only with an unchanged core.
    known = dict(origin.sessions) if is_frozen else {}
    about = {
        "model": twin.predictor_id,
        "session": source.key,
        "train": train,
        "seed": seed,
        "unit": "single-trial correlation",
    }
    card = result_card(about, frozen, trained, out, best.card or {})
    finished = replace(best, sessions=known | {source.key: own}, card={"finetuned": card})
    save_twins(out / FINISHED, finished)
