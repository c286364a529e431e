"""Scores of `linear-gaussian` beside the naive predictors, on recordings of any format.

    python -m tests.acceptance.public_recordings RECORDING...

RECORDING is a path that `open_session` reads, with its options after commas:
`mouse/suite2p,rate_hz=30,series=dff`. Prints one Markdown table with a row for each.
Exits with 1 if a recording cannot be read or scored; its row then has the reason.

Each third of a recording is scored once, with fits to the other two thirds less 2 s
beside it. Windows of 2 s do not overlap; video and behaviour are hidden. A score is the
correlation of each neuron over a third, from at most 200 of its windows, averaged over
neurons (silent ones count 0) and thirds. The gain over the best of the other predictors
has a 95 % interval: blocks of 10 s are left out in turn, of both predictors. Fits are
made anew, in a temporary cache.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, get_args
from unittest.mock import patch

import numpy as np

from omnimouse_app.cli.terminal import markdown_table
from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.build.notes import ReadOptions
from omnimouse_model.data.session import Session
from omnimouse_model.data.stimulus import Trials
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import SessionFormatError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import Condition, half_population_targets
from omnimouse_model.evaluation.results import BASELINE, Score
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.metrics.time_blocks import Estimate, jackknife

FOLDS = 3
PAUSE_S = OMNIMOUSE.duration_s
"""Distance of the train tier from the scored third, so that no windows overlap."""
STRETCHES = 8
"""Stretches of a train tier that is divided into halves."""
BASELINES = ("mean", "last", "interpolation", "ridge", "context-ridge")
N_HISTORY, N_HOLE = 25, 20
MAX_WINDOWS = 200
"""Windows of a third; those of longer recordings are a sample, evenly spread."""


# -- conditions ----------------------------------------------------------------------
def forecast(session: Session) -> Mask:
    """Return the mask of a forecast: 25 samples visible, the last 30 are targets."""
    mask = Mask.nothing(session).show(slice(None), (0, N_HISTORY))
    return mask.ask(slice(None))


def hole(session: Session) -> Mask:
    """Return the mask of holes: 20 samples of half of the neurons, all others visible.

    The guard of the recording is hidden on both sides of a hole, so that 20 samples are
    scored at any rate.
    """
    mask = Mask.nothing(session).show(slice(None))
    neurons = half_population_targets(session)
    first = (OMNIMOUSE.n_samples - N_HOLE) // 2
    last = first + N_HOLE
    before, after = max(first - mask.guard.after, 0), last + mask.guard.before
    hidden = mask.hide(neurons, slice(before, after))
    return hidden.ask(neurons, (first, last))


CONDITIONS = (
    Condition("half", partial(half_population_mask, video=False, behavior=False)),
    Condition("forecast", forecast),
    Condition("hole", hole),
)


# -- thirds of a recording -----------------------------------------------------------
def folds(session: Session) -> list[Session]:
    """Return the recording three times, each with another third as tier "test"."""
    edges = np.linspace(0, session.duration_s, FOLDS + 1)
    return [_fold(session, k, edges[k], edges[k + 1]) for k in range(FOLDS)]


def halves(third: Session) -> list[Session]:
    """Return one of `folds` twice, each with another half of its train tier.

    Stretches of the train tier are in the halves in turn, with 2 s between them.
    """
    trials = third.trials
    spans = [*zip(trials.tier, trials.t_on, trials.t_off, strict=True)]
    train = [span for span in spans if span[0] == "train"]
    length_s = sum(off - on for _, on, off in train) / STRETCHES
    stretches = [
        ("train", start_s, stop_s - PAUSE_S)
        for _, on, off in train
        for start_s, stop_s in pairwise(np.linspace(on, off, round((off - on) / length_s) + 1))
    ]
    test = [span for span in spans if span[0] != "train"]
    return [_tiered(third, test + stretches[half::2], f"half-{half}") for half in (0, 1)]


def responses_alone(session: Session) -> Session:
    """Return a recording without its video and behaviour."""
    return replace(session, stimulus=None, behavior=dict.fromkeys(session.behavior))


def _fold(session: Session, number: int, start_s: float, stop_s: float) -> Session:
    spans = [
        ("train", 0.0, start_s - PAUSE_S),
        ("test", start_s, stop_s),
        ("train", stop_s + PAUSE_S, session.duration_s),
    ]
    return _tiered(session, [span for span in spans if span[1] < span[2]], str(number))


def _tiered(session: Session, spans: Sequence[tuple[str, float, float]], name: str) -> Session:
    """Return a session with tiers of some spans, as tier, start and stop in s."""
    tier, t_on, t_off = zip(*spans, strict=True)
    n = len(tier)
    trials = Trials.of(
        key=[str(k) for k in range(n)],
        kind=["none"] * n,
        tier=tier,
        first_slot=[0] * n,
        n_slots=[0] * n,
        t_on=t_on,
        t_off=t_off,
        readable=[True] * n,
        blank_value=[np.nan] * n,
        stim_id=[""] * n,
        trial_idx=[""] * n,
        valid_trial=["True"] * n,
    )
    return replace(
        session,
        trials=trials,
        # Fits are stored by fingerprint.
        fingerprint=f"{session.fingerprint}-{name}",
    )


# -- scores --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Comparison:
    """Scores of a condition: the best naive predictor, `linear-gaussian`, the gain."""

    best: str
    best_value: float
    value: float
    gain: Estimate

    def __str__(self) -> str:
        gain = f"{self.gain.value:+.3f}"
        if np.isfinite(self.gain.low):
            gain += f" [{self.gain.low:+.3f}, {self.gain.high:+.3f}]"
        return f"{self.best} {self.best_value:.3f} → {self.value:.3f} ({gain})"


def compare(session: Session) -> dict[str, Comparison]:
    """Compare `linear-gaussian` with the best naive predictor in each condition."""
    stride = grid_points(OMNIMOUSE.duration_s)
    parts = [
        evaluate(
            [*BASELINES, BASELINE],
            fold,
            CONDITIONS,
            starts=spread_starts(fold.window_starts("test", stride), MAX_WINDOWS),
            centred=False,
        )
        for fold in folds(responses_alone(session))
    ]
    return {
        condition.name: _comparison(
            {
                name: [part.find(condition.name, name) for part in parts]
                for name in (*BASELINES, BASELINE)
            }
        )
        for condition in CONDITIONS
    }


def _comparison(scores: dict[str, list[Score]]) -> Comparison:
    values = {
        name: float(np.mean([score.value for score in found]))
        for name, found in scores.items()
        if not any(score.refusal for score in found)
    }
    best = max((name for name in BASELINES if name in values), key=values.__getitem__)
    gains = [
        (own.value - other.value, own.left_out - other.left_out)
        for own, other in zip(scores[BASELINE], scores[best], strict=True)
    ]
    value = float(np.mean([gain for gain, _ in gains]))
    left_out = [value + (part - gain) / len(gains) for gain, parts in gains for part in parts]
    gain = jackknife(value, left_out, is_extended=False)
    return Comparison(best, values[best], values[BASELINE], gain)


# -- table ---------------------------------------------------------------------------
def opened(recording: str) -> Session:
    """Return the session of a path with options after commas."""
    path, *texts = recording.split(",")
    types = {field.name: field.type for field in fields(ReadOptions)}
    options: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in types:
            raise SystemExit(f"{recording}: no reading option is called {name!r}")
        options[name] = _value(value, types[name])
    return open_session(path, **options)


def _value(text: str, annotation: Any) -> Any:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    if bool in kinds:
        return {"True": True, "False": False}[text]
    return float(text) if float in kinds else text


def row(recording: str) -> dict[str, object]:
    """Return the row of a recording: its size, its scores, seconds of a first look."""
    start_s = time.process_time()
    session = opened(recording)
    window, mask = session.window(0.0), CONDITIONS[0].mask(session)
    load_predictor(BASELINE).predict(window, mask)
    first_s = time.process_time() - start_s
    return {
        "recording": _name(recording),
        "format": " ".join(filter(None, (session.format, session.series))),
        "Hz": f"{session.responses.rate_hz:.3g}",
        "neurons": session.n_neurons,
        "minutes": f"{session.duration_s / 60:.1f}",
        **{name: str(found) for name, found in compare(session).items()},
        "CPU s to first prediction": f"{first_s:.1f}",
    }


def _name(recording: str) -> str:
    path = Path(recording.partition(",")[0])
    return path.name if path.is_dir() else path.stem


def main(recordings: Sequence[str]) -> int:
    """Print the table; return 1 if a recording could not be read or scored."""
    rows, status = [], 0
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, OMNIMOUSE_CACHE=cache):
        for recording in recordings:
            try:
                rows.append(row(recording))
            except (SessionFormatError, UnsupportedRequestError, ValueError) as error:
                rows.append({"recording": _name(recording), "format": str(error)})
                status = 1
            # Minutes may pass until the whole table is printed.
            print(*rows[-1].values(), sep=" | ", file=sys.stderr, flush=True)
    print(markdown_table(rows))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if len(sys.argv) > 1 else __doc__)
