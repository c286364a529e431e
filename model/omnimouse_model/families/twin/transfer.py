"""Fine-tuning of a digital twin: perspective, modulation and readout of a new session.

Core and the recurrent part of the modulation keep their weights, as in the release. The
start is a session that the model knows, with the receptive fields of the new neurons.
"""

from dataclasses import asdict, replace
from pathlib import Path

from omnimouse_model.data.session import Session
from omnimouse_model.errors import FinetuneError
from omnimouse_model.families.twin.checkpoint import MEAN, TwinCheckpoint, read_twins, save_twins
from omnimouse_model.families.twin.predictor import TwinPredictor, load_twin
from omnimouse_model.families.twin.training import train_twins
from omnimouse_model.families.twin.training_config import TwinTrainConfig
from omnimouse_model.predict.description import TRAINED, checkpoint_file
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import SAVING, STARTING, Job
from omnimouse_model.training.checkpoints import FINISHED
from omnimouse_model.training.config import TransferOptions
from omnimouse_model.training.sessions import TrainingSession
from omnimouse_model.training.transfer import (
    check_unknown,
    hold_out,
    result_card,
)

FROZEN = ("core", "modulation.lstm")
"""Modules that a transfer does not train, as in the release."""
FRAMES, BURN_IN = 90, 30
VALIDATIONS = 6


def transfer_twin(
    predictor: Predictor, session: Session, options: TransferOptions, out: Path, job: Job
) -> TwinPredictor:
    """Train the parts of a new session, and write the twin of it (`Transfer.start`).

    Raises
    ------
    FinetuneError
        The twin knows the session, or the session has no video.
    """
    assert isinstance(predictor, TwinPredictor)
    assert predictor.checkpoint is not None  # every loaded twin has one
    check_unknown(predictor, session, options.train)
    if session.stimulus is None:
        raise FinetuneError(
            "no_video",
            f"Session {session.id!r} has no video, which is all that a twin sees.",
        )
    source, origin = hold_out(session, options.seed), predictor.checkpoint()
    config = TwinTrainConfig(
        seed=options.seed,
        frame_size=origin.frame_size,
        model=origin.config,
        clips=options.batch,
        frames=FRAMES,
        burn_in=BURN_IN,
        start="receptive-fields",
        position_sd=0.1,
        cycles=1,
        # The rate falls from step to step.
        cycle_epochs=options.steps,
        epoch_steps=1,
        warmup_epochs=min(20, max(1, options.steps // 10)),
        frozen=FROZEN if options.train == "embeddings" else (),
        validate_every=max(1, options.steps // VALIDATIONS),
    )
    job.progress(0.0, 1.0, STARTING)
    device = resolve_device(job.device)
    train_twins(config, [source], out, device=device, origin=origin, job=job)
    job.progress(1.0, 1.0, SAVING)
    _write_result(out, predictor, origin, source, options)
    return load_twin(out, job.device)


def _write_result(
    out: Path,
    twin: TwinPredictor,
    origin: TwinCheckpoint,
    source: TrainingSession,
    options: TransferOptions,
) -> None:
    """Write the best weights, together with the known sessions of a frozen core."""
    best = read_twins(checkpoint_file(out, TRAINED))
    own = best.sessions[source.key]
    is_frozen = options.train == "embeddings"
    frozen = dict(origin.core) if is_frozen else {}
    trained = [v for k, v in own.items() if k != MEAN and not (is_frozen and k.startswith(FROZEN))]
    if not is_frozen:
        trained += list(best.core.values())
    # Other sessions remain valid only with an unchanged core.
    known = dict(origin.sessions) if is_frozen else {}
    about = {
        **asdict(options),
        "model": twin.predictor_id,
        "session": source.key,
        "unit": "single-trial correlation",
    }
    card = result_card(about, frozen, best.core, trained, out, best.card or {})
    finished = replace(best, sessions=known | {source.key: own}, card={"finetuned": card})
    save_twins(out / FINISHED, finished)
