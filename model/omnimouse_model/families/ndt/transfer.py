"""Fine-tuning of a neural data transformer: two stitchers for a new session.

With `train="embeddings"` the transformer is frozen, and the embedding of the session is
the mean of those that it was trained with. With "all" everything is trained, as in the
scaling experiment of Jiang et al. 2025.
"""

from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path

import numpy as np
import torch

from omnimouse_model.data.session import Session, require_events, require_trials
from omnimouse_model.errors import CheckpointError, FinetuneError, UnsupportedRequestError
from omnimouse_model.families.ndt.checkpoint import (
    RATE_OF,
    SCHEMES_OF,
    SESSION_TABLE,
    NdtCheckpoint,
    read_ndt,
    save_ndt,
)
from omnimouse_model.families.ndt.network import PROMPTS
from omnimouse_model.families.ndt.predictor import NdtPredictor, load_ndt
from omnimouse_model.families.ndt.training import train_ndt
from omnimouse_model.families.ndt.training_config import NdtTrainConfig
from omnimouse_model.families.ndt.trials import MIN_TRIALS, trial_session
from omnimouse_model.masks.schemes import SCHEMES
from omnimouse_model.predict.description import TRAINED, checkpoint_file
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import SAVING, STARTING, Job
from omnimouse_model.training.checkpoints import FINISHED
from omnimouse_model.training.config import TransferOptions
from omnimouse_model.training.sessions import TrainingSession
from omnimouse_model.training.transfer import (
    check_name,
    check_unknown,
    result_card,
)

LR = 1e-3
"""Rate for a single session, as in the public code; small cores have a higher one."""
VALIDATIONS = 10
SHARE = 0.1
"""Share of the train trials that are held out where there is no validation tier."""


def transfer_ndt(
    predictor: Predictor, session: Session, options: TransferOptions, out: Path, job: Job
) -> NdtPredictor:
    """Train the stitchers of a new session, and write the model (`Transfer.start`)."""
    assert isinstance(predictor, NdtPredictor)
    assert predictor.checkpoint is not None  # every loaded predictor has one
    _check(predictor, session, options)
    origin, source = predictor.checkpoint(), _hold_out(session, predictor, options.seed)
    config = NdtTrainConfig(
        seed=options.seed,
        model=origin.config,
        spec=predictor.spec,
        schemes=_schemes_of(origin),
        batch=options.batch,
        steps=options.steps,
        lr=_rate_of(origin),
        trained="stitchers" if options.train == "embeddings" else "all",
        mean_rates=True,
        validate_every=max(1, options.steps // VALIDATIONS),
    )
    job.progress(0.0, 1.0, STARTING)
    device = resolve_device(job.device)
    train_ndt(config, [source], out, device=device, origin=origin, job=job)
    job.progress(1.0, 1.0, SAVING)
    _write_result(out, predictor, origin, source, options)
    return load_ndt(out, job.device)


def _check(ndt: NdtPredictor, session: Session, options: TransferOptions) -> None:
    """Check model, session and mode before anything is written.

    Raises
    ------
    FinetuneError
        The model knows the session, or the session has no spikes or too few trials.
    """
    check_unknown(ndt, session, options.train)
    check_name(session)
    try:
        require_events(session, ndt.spec)
    except UnsupportedRequestError as error:
        raise FinetuneError("no_spikes", str(error)) from error
    try:
        require_trials(session, ndt.spec)
    except UnsupportedRequestError as error:
        raise FinetuneError("no_train", str(error)) from error
    n_trials = len(trial_session(session, ndt.spec).starts)
    if n_trials <= MIN_TRIALS:
        raise FinetuneError(
            "no_train" if not n_trials else "too_short",
            f"Session {session.id!r} has {n_trials} whole trials of "
            f"{ndt.spec.duration_s:g} s in tier 'train'; expected more than "
            f"{MIN_TRIALS}. Its tiers are {', '.join(session.tiers()) or 'none'}.",
        )


def _hold_out(session: Session, ndt: NdtPredictor, seed: int) -> TrainingSession:
    """Return the train trials; some are held out if there is no validation tier."""
    source = trial_session(session, ndt.spec)
    if len(session.window_starts("validation", spec=ndt.spec)):
        return source
    count = len(source.starts)
    order = np.random.default_rng(seed).permutation(count)
    held = np.sort(order[: max(1, round(SHARE * count))])
    return replace(source, starts=np.delete(source.starts, held), held_out=source.starts[held])


def _schemes_of(model: NdtCheckpoint) -> tuple[str, ...]:
    """Return the masking schemes of a model's training; those of the paper by default.

    Raises
    ------
    CheckpointError
        The card names others.
    """
    schemes = (model.card or {}).get(SCHEMES_OF, PROMPTS)
    known = PROMPTS if model.config.has_prompt else SCHEMES
    if not isinstance(schemes, list | tuple) or not set(schemes) <= set(known):
        raise CheckpointError(
            f"{model.source}: card.{SCHEMES_OF} is {schemes!r}; expected some of "
            f"{', '.join(known)}."
        )
    return tuple(schemes)


def _rate_of(model: NdtCheckpoint) -> float:
    """Return the highest learning rate: that of a model's training, at least `LR`."""
    rate = (model.card or {}).get(RATE_OF, LR)
    return max(LR, rate) if isinstance(rate, float) and isfinite(rate) else LR


def _write_result(
    out: Path,
    ndt: NdtPredictor,
    origin: NdtCheckpoint,
    source: TrainingSession,
    options: TransferOptions,
) -> None:
    """Write the best weights, together with the known sessions of a frozen model."""
    best = read_ndt(checkpoint_file(out, TRAINED))
    is_frozen = options.train == "embeddings"
    frozen = dict(origin.shared) if is_frozen else {}
    table = frozen.pop(SESSION_TABLE, None)
    trained = best.stitchers(source.key) if is_frozen else best.state
    about = {
        **asdict(options),
        "model": ndt.predictor_id,
        "session": source.key,
        "unit": "bits per spike",
    }
    card = result_card(about, frozen, best.state, trained.values(), out, best.card or {})
    # Other sessions remain valid only with an unchanged transformer.
    if is_frozen:
        state = dict(origin.state) | best.stitchers(source.key)
        if table is not None:
            state[SESSION_TABLE] = torch.cat([table, best.state[SESSION_TABLE]])
        sessions = {**origin.sessions, source.key: best.sessions[source.key]}
        best = replace(best, state=state, sessions=sessions)
    about = {
        "finetuned": card,
        SCHEMES_OF: list(_schemes_of(best)),
        RATE_OF: _rate_of(best),
    }
    save_ndt(out / FINISHED, replace(best, card=about))
