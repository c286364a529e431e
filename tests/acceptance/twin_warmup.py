"""Change of the demo twin's rates with less warm-up than 8 seconds.

usage: python -m tests.acceptance.twin_warmup

Prints, for each warm-up, the difference of the rates in the 2-s windows of the test
tier, relative to their standard deviation, for all samples and for the first 0.5 s.
"""

import sys
from dataclasses import replace

import numpy as np

from omnimouse_model.analysis.evaluate.tier_windows import scored_starts
from omnimouse_model.data.open import open_session
from omnimouse_model.demo import demo_session
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.registry import load_predictor
from omnimouse_model.predict.twin.predictor import TwinPredictor

WARMUPS_S = (0.0, 1 / 3, 1.0, 2.0, 4.0)
REFERENCE_S = 8.0
WINDOWS = 40
FIRST = 15
"""Samples of the first half second."""


def rates(twin: TwinPredictor, starts: np.ndarray, warmup_s: float) -> np.ndarray:
    """Return the rates (window, sample, neuron) after a warm-up."""
    session = open_session(demo_session())
    spec = replace(twin.spec, warmup_s=warmup_s)
    predictor: Predictor = replace(twin, spec=spec)
    mask = Mask.nothing(session, spec).ask(slice(None), slice(None))
    mask = mask.with_frames(True).with_behavior("visible").with_guard(guarded=False)
    return np.stack(
        [
            predictor.predict(session.window(float(s), spec), mask).responses
            for s in starts
        ]
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
