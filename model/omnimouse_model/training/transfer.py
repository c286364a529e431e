"""What fine-tunings of all families share: held-out windows, and the card of a result.

The caller of `transfer` writes the settings of a run (`analysis.fit`). `transfer` trains
with the steps of a family (`loop.TrainingRun`), and writes the result with its card.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WINDOW_S
from omnimouse_model.errors import CheckpointError, FinetuneError
from omnimouse_model.predict.checkpoint_file import (
    FINISHED,
    TRAINED,
    Checkpoint,
    checkpoint_file,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import SAVING, STARTING, Job
from omnimouse_model.training.config import Trained, TransferOptions
from omnimouse_model.training.loop import OF_RUN, SUMMARY, TrainingRun, train
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_model.training.sessions import TrainingSession, training_session, without_windows

# -- split of the train tier into windows for training and for validation -------------
# The official recipe holds out 5 % of the train windows at random. Windows start at every
# screen sample, so neighbouring windows share all samples except one. Here, intervals of
# time are held out instead, and no train window overlaps a held-out window.
SHARE = 0.05
# Official stride of validation windows in fine-tuning, in screen samples: 1 s.
STRIDE = 30
INTERVAL_S = 10.0
"""Length of one held-out interval; shorter in short sessions."""
PARTS = 20
"""Minimum number of intervals of a short session, if windows fit into them."""


def hold_out(session: Session, seed: int) -> TrainingSession:
    """Return a session with train windows and held-out windows, drawn with a seed.

    Raises
    ------
    FinetuneError
        There are no train windows, or too few to hold out some.
    """
    has_some = bool(session.tiers().get("train"))
    source = training_session(session) if has_some else None
    if source is None or not len(source.starts):
        raise FinetuneError(
            "no_train",
            f"{without_windows(session)} Name the trials to learn from 'train', or remove "
            "every tier.",
        )
    starts = source.starts
    # Every interval also costs the train windows that overlap its borders, so intervals
    # shorter than a window would cost far more windows than they hold out.
    length = min(INTERVAL_S, covered_s(starts) / PARTS)
    interval = np.floor((starts - starts[0]) / max(length, WINDOW_S)).astype(int)
    numbers = np.random.default_rng(seed).permutation(np.unique(interval))
    held = np.zeros(len(starts), bool)
    for number in numbers:
        if held.sum() >= SHARE * len(starts):
            break
        held |= interval == number
    held_out_starts = spaced(starts[held])
    # Distance of each train window to the nearest held-out window before and after it.
    near = np.searchsorted(held_out_starts, starts)
    distance = np.minimum(
        np.abs(starts - held_out_starts[np.maximum(near - 1, 0)]),
        np.abs(starts - held_out_starts[np.minimum(near, len(held_out_starts) - 1)]),
    )
    # Starts at least one window length apart do not overlap. Starts are float seconds,
    # hence the tolerance.
    train = starts[distance > WINDOW_S - 1e-6]
    if not len(train):
        raise FinetuneError(
            "too_short",
            f"Session {session.id!r} has only {len(starts):,} train windows of "
            f"{WINDOW_S:g} s, too few to hold some out: record longer, or name more "
            "trials 'train'.",
        )
    return replace(source, starts=train, held_out=held_out_starts)


def covered_s(starts: np.ndarray) -> float:
    """Return the seconds that windows with sorted starts cover together.

    Gaps of a recording are in no window and are not counted.
    """
    return float(np.minimum(np.diff(starts), WINDOW_S).sum()) + WINDOW_S


def spaced(starts: np.ndarray) -> np.ndarray:
    """Return those of the sorted starts that are at least the official stride apart."""
    least = STRIDE / GRID_RATE_HZ - 1e-6
    spaced_starts = [starts[0]]
    for start in starts[1:]:
        if start - spaced_starts[-1] >= least:
            spaced_starts.append(start)
    return np.array(spaced_starts)


# -- options, checks and the card of a result ------------------------------------------
def check_unknown(predictor: Predictor, session: Session, train: Trained) -> None:
    """Raise `FinetuneError` if a model knows the session, and not all of it is trained."""
    known, name = predictor.needs.n_neurons.get(session.id), predictor.predictor_id
    if known is not None and known != session.n_neurons:
        raise FinetuneError(
            "neurons",
            f"{name!r} knows session {session.id!r} with {known:,} neurons, this recording "
            f"has {session.n_neurons:,}: is it the same export? Give the other one another "
            "name.",
        )
    if known is not None and train != "all":
        raise FinetuneError(
            "known",
            f"{name!r} knows session {session.id!r} already: use it as it is, or fine-tune "
            'all of it to the session (train="all").',
        )


def check_name(session: Session) -> None:
    """Raise `FinetuneError` if the id of a session cannot be part of a parameter's name."""
    # Parameter names use dots as separators, and torch refuses module names with dots.
    if "." in session.id:
        raise FinetuneError(
            "session_id",
            f"Session {session.id!r} has a dot in its name, which no checkpoint can "
            "hold: rename its folder, or its data_key.",
        )


def transfer(
    kind: type[TrainingRun],
    predictor: Any,
    session: Session,
    options: TransferOptions,
    out: Path,
    job: Job,
) -> Predictor:
    """Train a model on a new session, and write it with the sessions that it knows.

    Parameters
    ----------
    kind
        The training of its family, see `TrainingRun.of_transfer`.
    predictor
        The model; its `checkpoint()` gives its weights.

    Raises
    ------
    FinetuneError
        The model knows the session, or the session has nothing to learn from.
    CheckpointError
        A frozen tensor has changed.
    """
    check_unknown(predictor, session, options.train)
    origin: Checkpoint = predictor.checkpoint()
    config, source = kind.of_transfer(origin, session, options)
    start, steps = kind.origin_of(origin, source, options, job)
    job.progress(0.0, 1.0, STARTING)
    device = resolve_device(job.device)
    train(kind, config, [source], out, device=device, origin=start, job=steps)
    best = kind.checkpoint.read(checkpoint_file(out, TRAINED))
    is_frozen = options.train == "embeddings"
    frozen = origin.core if is_frozen else {}
    if any(not torch.equal(best.state[name], value) for name, value in frozen.items()):
        raise CheckpointError(
            f"{checkpoint_file(out, TRAINED)} does not hold the frozen weights of "
            f"{predictor.predictor_id}: it was written over. Remove the folder and fine-tune again."
        )
    values = {one.name: getattr(options, one.name) for one in fields(options)}
    rows = list(log_rows(out / FILE))
    card = {
        # Of a recording among the options, its id.
        **{name: getattr(value, "id", value) for name, value in values.items()},
        "model": predictor.predictor_id,
        "session": source.key,
        "unit": kind.unit,
        "frozen_hash": weights_hash(dict(frozen)) if frozen else None,
        "n_trained": sum(value.numel() for value in best.trained(source.key, frozen)),
        "steps": int(rows[-1]["step"]),
        "best_step": best.card["steps"],
        # Step 0 is the validation before training (`loop`).
        "before": rows[0].get(SUMMARY) if rows[0]["step"] == 0 else None,
        "validation": best.card.get("validation"),
        "minutes": round(rows[-1]["seconds"] / 60, 1),
    }
    # Other sessions remain valid only with an unchanged core.
    finished = origin.joined(best) if is_frozen else best
    notes = {k: v for k, v in best.card.items() if k not in OF_RUN}
    # The weights that were trained tell no more of the settings than those of before.
    result = replace(finished, assumed=origin.assumed, card={"finetuned": card, **notes})
    result = kind.finished(result, start)
    job.progress(1.0, 1.0, SAVING)
    result.save(out / FINISHED)
    found: Predictor = kind.load_model(out, job.device)
    return found
