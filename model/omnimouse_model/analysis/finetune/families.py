"""Fine-tuning of models of two other families to a new session.

A neural data transformer gets two stitchers. With `train="embeddings"` the transformer
is frozen, and the embedding of the session is the mean of those that it was trained
with. With "all" everything is trained, as in the scaling experiment of Jiang et al.
2025.

Of a digital twin, perspective, modulation and readout are trained; core and the
recurrent part of the modulation keep their weights, as in the release. The start is a
session that the model knows, with the receptive fields of the new neurons.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.analysis.finetune.records import (
    hold_out,
    result_card,
    write_settings,
)
from omnimouse_model.data.session import Session, require_events, require_trials
from omnimouse_model.errors import (
    CheckpointError,
    FinetuneError,
    UnsupportedRequestError,
)
from omnimouse_model.families.ndt.checkpoint import (
    RATE_OF,
    SCHEMES_OF,
    SESSION_TABLE,
    NdtCheckpoint,
    read_ndt,
    save_ndt,
)
from omnimouse_model.families.ndt.network import PROMPTS
from omnimouse_model.families.ndt.predictor import NdtPredictor
from omnimouse_model.families.ndt.training import train_ndt
from omnimouse_model.families.ndt.training_config import NdtTrainConfig
from omnimouse_model.families.ndt.trials import MIN_TRIALS, trial_session
from omnimouse_model.families.omnimouse.transfer_start import Trained
from omnimouse_model.families.twin.checkpoint import (
    MEAN,
    TwinCheckpoint,
    read_twins,
    save_twins,
)
from omnimouse_model.families.twin.predictor import TwinPredictor
from omnimouse_model.families.twin.training import train_twins
from omnimouse_model.families.twin.training_config import TwinTrainConfig
from omnimouse_model.masks.schemes import SCHEMES
from omnimouse_model.progress import SAVING, STARTING, Job
from omnimouse_model.training.checkpoints import FINISHED, best_or_last
from omnimouse_model.training.loop import OnStep
from omnimouse_model.training.sessions import TrainingSession

Settings = tuple[Trained, int, int, int]
"""What is trained, number of steps, batch, and seed."""


def _check_known(model: NdtPredictor | TwinPredictor, session: Session, train: Trained) -> None:
    """Raise FinetuneError if a model knows the session, and not all of it is trained."""
    known = model.needs.n_neurons.get(session.id)
    if known is not None and (train != "all" or known != session.n_neurons):
        raise FinetuneError(
            "known",
            f"{model.predictor_id!r} knows session {session.id!r} ({known:,} neurons; "
            f"this recording has {session.n_neurons:,}): use it as it is, or train "
            'all of it (train="all").',
        )


def _check_frozen(
    path: Path, part: str, frozen: Mapping[str, Tensor], trained: Mapping[str, Tensor]
) -> None:
    """Raise CheckpointError if a frozen tensor has changed."""
    if any(not torch.equal(trained[name], value) for name, value in frozen.items()):
        raise CheckpointError(
            f"{path} does not hold the frozen {part}: it was written over. Remove the "
            "folder and fine-tune again."
        )


def _about(
    model: NdtPredictor | TwinPredictor, source: TrainingSession, settings: Settings, unit: str
) -> dict[str, Any]:
    """Return what the card of a fine-tuned model says about its training."""
    train, _, _, seed = settings
    return {
        "model": model.predictor_id,
        "session": source.key,
        "train": train,
        "seed": seed,
        "unit": unit,
    }


# -- stitchers of a neural data transformer -------------------------------------------
LR = 1e-3
"""Rate for a single session, as in the public code; small cores have a higher one."""
NDT_VALIDATIONS = 10
SHARE = 0.1
"""Share of the train trials that are held out where there is no validation tier."""


def check_stitchers(ndt: NdtPredictor, session: Session, train: Trained) -> None:
    """Check model, session and mode before anything is written.

    Raises
    ------
    FinetuneError
        The model knows the session, or the session has no spikes or too few trials.
    """
    _check_known(ndt, session, train)
    if "." in session.id:
        raise FinetuneError(
            "session_id",
            f"Session {session.id!r} has a dot in its name, which no checkpoint can "
            "hold: rename it.",
        )
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


def fit_stitchers(
    ndt: NdtPredictor,
    session: Session,
    out: Path,
    settings: Settings,
    device: torch.device,
    on_step: OnStep,
    job: Job,
) -> None:
    """Train the stitchers of a new session, and write the model; see `finetune`."""
    train, n_steps, batch, seed = settings
    assert ndt.checkpoint is not None  # every loaded predictor has one
    origin, source = ndt.checkpoint(), _hold_out(session, ndt, seed)
    schemes = _schemes_of(origin)
    chosen = {"train": train, "seed": seed, "batch": batch}
    write_settings(out, ndt.predictor_id, ndt.weights, session, chosen)
    config = NdtTrainConfig(
        seed=seed,
        model=origin.config,
        spec=ndt.spec,
        schemes=schemes,
        batch=batch,
        steps=n_steps,
        lr=_rate_of(origin),
        trained="stitchers" if train == "embeddings" else "all",
        mean_rates=True,
        validate_every=max(1, n_steps // NDT_VALIDATIONS),
    )
    job.progress(0.0, 1.0, STARTING)
    train_ndt(config, [source], out, device=device, origin=origin, on_step=on_step, job=job)
    job.progress(1.0, 1.0, SAVING)
    _finish_stitchers(out, ndt, origin, source, settings)


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


def _finish_stitchers(
    out: Path,
    ndt: NdtPredictor,
    origin: NdtCheckpoint,
    source: TrainingSession,
    settings: Settings,
) -> None:
    """Write the best weights, together with the known sessions of a frozen model.

    Raises
    ------
    CheckpointError
        A frozen tensor has changed.
    """
    path = best_or_last(out)
    best = read_ndt(path)
    is_frozen = settings[0] == "embeddings"
    frozen = dict(origin.shared) if is_frozen else {}
    table = frozen.pop(SESSION_TABLE, None)
    _check_frozen(path, f"transformer of {ndt.predictor_id}", frozen, best.state)
    trained = best.stitchers(source.key) if is_frozen else best.state
    about = _about(ndt, source, settings, "bits per spike")
    card = result_card(about, frozen, trained.values(), out, best.card or {})
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


# -- transfer of a digital twin --------------------------------------------------------
FROZEN = ("core", "modulation.lstm")
"""Modules that a transfer does not train, as in the release."""
FRAMES, BURN_IN = 90, 30
TWIN_VALIDATIONS = 6


def check_transfer(twin: TwinPredictor, session: Session, train: Trained) -> None:
    """Check twin, session and mode before anything is written.

    Raises
    ------
    FinetuneError
        The twin knows the session, or the session has no video.
    """
    _check_known(twin, session, train)
    if session.stimulus is None:
        raise FinetuneError(
            "no_video",
            f"Session {session.id!r} has no video, which is all that a twin sees.",
        )


def transfer(
    twin: TwinPredictor,
    session: Session,
    out: Path,
    settings: Settings,
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
    config = _twin_config(origin, train, n_steps, batch, seed)
    job.progress(0.0, 1.0, STARTING)
    train_twins(config, [source], out, device=device, origin=origin, on_step=on_step, job=job)
    job.progress(1.0, 1.0, SAVING)
    _finish_transfer(out, twin, origin, source, settings)


def _twin_config(
    origin: TwinCheckpoint, train: Trained, steps: int, batch: int, seed: int
) -> TwinTrainConfig:
    validate_every = max(1, steps // TWIN_VALIDATIONS)
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


def _finish_transfer(
    out: Path,
    twin: TwinPredictor,
    origin: TwinCheckpoint,
    source: TrainingSession,
    settings: Settings,
) -> None:
    """Write the best weights, together with the known sessions of a frozen core.

    Raises
    ------
    CheckpointError
        A frozen tensor has changed.
    """
    path = best_or_last(out)
    best = read_twins(path)
    own = best.sessions[source.key]
    is_frozen = settings[0] == "embeddings"
    frozen = dict(origin.core) if is_frozen else {}
    _check_frozen(path, f"core of {twin.predictor_id}", frozen, best.core)
    trained = [v for k, v in own.items() if k != MEAN and not (is_frozen and k.startswith(FROZEN))]
    if not is_frozen:
        trained += list(best.core.values())
    # Other sessions remain valid only with an unchanged core.
    known = dict(origin.sessions) if is_frozen else {}
    about = _about(twin, source, settings, "single-trial correlation")
    card = result_card(about, frozen, trained, out, best.card or {})
    finished = replace(best, sessions=known | {source.key: own}, card={"finetuned": card})
    save_twins(out / FINISHED, finished)
