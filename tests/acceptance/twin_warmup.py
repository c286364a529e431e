"""Change of the demo twin's rates with less warm-up than 8 seconds.

usage: python -m tests.acceptance.twin_warmup

Prints, for each warm-up, the difference of the rates in the 2-s windows of the test
tier, relative to their standard deviation, for all samples and for the first 0.5 s.
Then the same difference for a window that slides by 0.1 s, as in playback, and the time
of both predictions.
"""

import sys
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.families.twin.predictor import TwinPredictor
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.live.inference.stream import Stream
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.simulate.demo import demo_session

WARMUPS_S = (0.0, 1 / 3, 1.0, 2.0, 4.0)
REFERENCE_S = 8.0
WINDOWS = 40
FIRST = 15
"""Samples of the first half second."""
SLIDE_S, SLIDES = 0.1, 60


def rates(twin: TwinPredictor, starts: np.ndarray, warmup_s: float) -> np.ndarray:
    """Return the rates (window, sample, neuron) after a warm-up."""
    session = open_session(demo_session())
    spec = replace(twin.spec, warmup_s=warmup_s)
    predictor: Predictor = replace(twin, spec=spec)
    mask = Mask.nothing(session, spec).ask(slice(None), slice(None))
    mask = mask.with_frames(True).with_behavior("visible").with_guard(guarded=False)
    return np.stack(
        [predictor.predict(session.window(float(s), spec), mask).responses for s in starts]
    )


def main() -> int:
    """Print one line per warm-up."""
    twin = load_predictor("twin-demo", device="cpu")
    assert isinstance(twin, TwinPredictor)
    spec = replace(twin.spec, warmup_s=REFERENCE_S)
    session = open_session(demo_session())
    starts = scored_starts(session, "test", WINDOWS, spec)
    starts = starts[starts > REFERENCE_S]
    expected = rates(twin, starts, REFERENCE_S)
    spread = expected.std(axis=(0, 1))
    print("warm-up    all 2 s    first 0.5 s   (r.m.s. change in s.d. of the rate)")
    for warmup_s in WARMUPS_S:
        change = (rates(twin, starts, warmup_s) - expected) / spread
        whole = float(np.sqrt(np.mean(change**2)))
        first = float(np.sqrt(np.mean(change[:, :FIRST] ** 2)))
        print(f"{warmup_s:5.2f} s    {whole:7.4f}    {first:7.4f}", flush=True)
    print_playback(twin, session, float(starts[0]), spread)
    return 0


def print_playback(
    twin: TwinPredictor, session: Session, start_s: float, spread: np.ndarray
) -> None:
    """Print difference and times of streamed predictions and those of windows."""
    mask = Mask.nothing(session, twin.spec).ask(slice(None), slice(None))
    mask = mask.with_frames(True).with_behavior("visible").with_guard(guarded=False)
    stream, changes, streamed_s, whole_s = Stream(), [], [], []
    for k in range(SLIDES):
        window = session.window(start_s + SLIDE_S * k, twin.spec)
        for part in (window, window.warmup):
            assert part is not None
            _ = part.frames_u8, part.behavior  # read before the clock starts
        since = perf_counter()
        streamed = stream.follow(twin, window, mask)
        middle = perf_counter()
        expected = twin.predict(window, mask)
        if streamed is not None and k > 2:  # the second move runs the warm-up
            streamed_s.append(middle - since)
            whole_s.append(perf_counter() - middle)
            changes.append((streamed.responses - expected.responses) / spread)
    print(
        f"window that slides by {SLIDE_S:g} s: change "
        f"{float(np.sqrt(np.mean(np.square(changes)))):.4f}, "
        f"{1000 * median(streamed_s):.0f} ms streamed, "
        f"{1000 * median(whole_s):.0f} ms with warm-up"
    )


if __name__ == "__main__":
    sys.exit(main())
