"""Held-out windows of a fine-tuning, and the records of its settings and its result."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WINDOW_S
from omnimouse_model.errors import FinetuneError
from omnimouse_model.predict.description import weights_hash
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import decode, refused_as, shown
from omnimouse_model.storage.write import write_json
from omnimouse_model.training.checkpoints import LAST
from omnimouse_model.training.loop import SUMMARY
from omnimouse_model.training.metrics_log import FILE, log_rows
from omnimouse_model.training.sessions import TrainingSession, training_session

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
    source = _opened(session)
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


def _opened(session: Session) -> TrainingSession:
    """Return the session with its train windows; FinetuneError if it has none."""
    has_some = bool(session.tiers().get("train"))
    source = training_session(session) if has_some else None
    if source is None or not len(source.starts):
        raise FinetuneError(
            "no_train",
            f"Session {session.id!r} has no whole window of tier 'train'; its tiers "
            f"are {', '.join(session.tiers()) or 'none'}. Name the trials to learn "
            "from 'train', or remove every tier.",
        )
    return source


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


# -- records of a fine-tuning: its settings, the card of its result, and its stages ---
ABOUT = "finetune.json"


def write_settings(
    out: Path,
    source: str,
    weights: str,
    session: Session,
    settings: Mapping[str, Any],
) -> None:
    """Write the settings of the run into `out`; refuse a folder with another run."""
    about = {
        "model": source,
        "weights": weights,
        "session": session.id,
        "recording": session.fingerprint,
        **settings,
    }
    path = out / ABOUT
    if path.exists():
        with refused_as(partial(FinetuneError, "other_run")):
            saved = decode(dict[str, Any], read_json(path), path)
        # [1:] leaves out the model's name: a file can be renamed or moved, and the hash
        # of the weights identifies the model.
        other = [name for name in list(about)[1:] if saved.get(name) != about[name]]
        if other:
            text = ", ".join(f"{n} {shown(saved.get(n))}, not {about[n]!r}" for n in other)
            raise FinetuneError(
                "other_run",
                f"{out} holds another fine-tuning ({text}): choose another folder.",
            )
        return
    if (out / LAST).exists() or (out / FILE).exists():
        raise FinetuneError("other_run", f"{out} holds a training run: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, about)


def result_card(
    about: Mapping[str, Any],
    frozen: Mapping[str, Tensor],
    trained: Iterable[Tensor],
    out: Path,
    best: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the card of a fine-tuned model.

    Parameters
    ----------
    about
        Model, session, mode, seed, and the unit of the scores.
    frozen, trained
        Tensors that kept their values, and those that were trained.
    out
        Folder of the run, with its log.
    best
        Card of the best weights.
    """
    rows = list(log_rows(out / FILE))
    # Step 0 is the validation before training (`loop`).
    before = rows[0].get(SUMMARY) if rows[0]["step"] == 0 else None
    return {
        **about,
        "frozen_hash": weights_hash(dict(frozen)) if frozen else None,
        "n_trained": sum(value.numel() for value in trained),
        "steps": int(rows[-1]["step"]),
        "best_step": best["steps"],
        "before": before,
        "validation": best.get("validation"),
        "minutes": round(rows[-1]["seconds"] / 60, 1),
    }
