"""White noise in slow recordings: no predictor may score above chance.

    .venv/bin/python -m tests.acceptance.white_noise

Responses are independent gamma noise, which nothing can predict: the true score of
every task is 0. Interpolation to the rate of OmniMouse must not raise it. The command
prints a row for each rate, predictor and task, and exits with status 1 if too many
intervals exclude 0 (5 % and two binomial standard errors), or a score exceeds .02. Both
hold for the centred and for the pooled score.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import omnimouse_model as om

RATES_HZ = (1.0, 2.0, 3.0, 5.0, 6.3, 8.0)
N_NEURONS = 200
TEST_SAMPLES = 500
"""Recorded samples of the test tier, which is a fifth of the recording."""
LARGEST = 0.02
CLASSICAL = (
    "mean",
    "last",
    "interpolation",
    "ridge",
    "context-ridge",
    "video-ridge",
    "linear-gaussian",
)
TASKS = (
    "test/causal_response_25",
    "test/causal_response_10",
    "test/population_64_response",
    "test/population_1024_response",
    "test/video_only",
)


@dataclass(frozen=True, slots=True)
class NoiseScore:
    """Score of white noise; its true value is 0."""

    rate_hz: float
    predictor: str
    task: str
    kind: str
    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does not contain the true score."""
        return self.low > 0 or self.high < 0


def white_noise(
    rate_hz: float, seed: int, n_test: int = TEST_SAMPLES, n_neurons: int = N_NEURONS
) -> om.Session:
    """Return a recording of independent gamma noise with `n_test` test samples."""
    # The pause between train and test takes two seconds, and both ends half a second.
    n_samples = int(np.ceil(5.1 * n_test + 8 * rate_hz))
    draw = np.random.default_rng([seed, int(10 * rate_hz)])
    responses = draw.gamma(1.0, 1.0, (n_samples, n_neurons)).astype(np.float32)
    name = f"noise-{rate_hz:g}Hz-{seed}"
    return om.open_session({"responses": responses, "rate_hz": rate_hz, "id": name})


def noise_scores(
    session: om.Session, predictors: Sequence[object], tasks: Sequence[str] = TASKS
) -> Iterator[NoiseScore]:
    """Yield the scores that have a value."""
    rate_hz = session.responses.rate_hz
    scores = om.evaluate(list(predictors), session, list(tasks))
    for score in scores.scores:
        kinds = {"pooled": (score.pooled, score.pooled_ci_low, score.pooled_ci_high)}
        if score.is_centred:
            kinds["centred"] = score.value, score.ci_low, score.ci_high
        name = score.predictor.partition("@")[0]
        for kind, numbers in kinds.items():
            if np.isfinite(numbers[0]):
                yield NoiseScore(rate_hz, name, score.strategy, kind, *numbers)


def faults(scores: Sequence[NoiseScore]) -> list[str]:
    """Return what is wrong with the scores of white noise, [] if nothing is."""
    found = [
        f"{s.predictor} at {s.rate_hz:g} Hz, {s.task}, {s.kind}: {s.value:z.3f}"
        for s in scores
        if abs(s.value) > LARGEST
    ]
    for kind in ("centred", "pooled"):
        # A predictor that is constant has the score 0 with an interval of no width.
        scored = [s for s in scores if s.kind == kind and s.high > s.low]
        n = max(1, len(scored))
        share = sum(s.excludes_zero for s in scored) / n
        most = 0.05 + 2 * sqrt(0.05 * 0.95 / n)
        if share > most:
            found.append(
                f"{100 * share:.1f} % of {n} intervals of {kind} scores exclude 0; at "
                f"most {100 * most:.1f} % expected"
            )
    return found


def finetuned_demo(session: om.Session, folder: Path) -> om.Predictor:
    """Return the demo model with embeddings of the session on its frozen core."""
    demo, out = om.load_predictor("demo"), folder / "finetuned-demo"
    return om.finetune(demo, session, out=out, train="embeddings")


def table(scores: Sequence[NoiseScore]) -> Iterator[str]:
    """Yield a Markdown table: mean, largest centred score, intervals without 0."""
    yield "| rate (Hz) | predictor | task | recordings | mean | largest | without 0 |"
    yield "| ---: | --- | --- | ---: | ---: | ---: | ---: |"
    groups: dict[tuple[float, str, str], list[NoiseScore]] = defaultdict(list)
    for score in (s for s in scores if s.kind == "centred"):
        groups[score.rate_hz, score.predictor, score.task].append(score)
    for (rate_hz, predictor, task), group in groups.items():
        values = np.array([score.value for score in group])
        largest = values[np.argmax(np.abs(values))]
        outside = sum(score.excludes_zero for score in group)
        yield (
            f"| {rate_hz:g} | {predictor} | {task.partition('/')[2]} | {len(group)} "
            f"| {values.mean():z.4f} | {largest:z.4f} | {outside} |"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Score white noise and print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES_HZ)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--without-demo", action="store_true", help="do not fine-tune the demo at 3 Hz"
    )
    options = parser.parse_args(arguments)
    scores: list[NoiseScore] = []
    for rate_hz in options.rates:
        for seed in range(options.seeds):
            session = white_noise(rate_hz, seed)
            predictors: list[object] = list(CLASSICAL)
            with TemporaryDirectory() as folder:
                if rate_hz == 3.0 and not options.without_demo:
                    predictors.append(finetuned_demo(session, Path(folder)))
                scores += noise_scores(session, predictors)
            print(f"{rate_hz:g} Hz, seed {seed}: done", file=sys.stderr)
    print("\n".join(table(scores)))
    wrong = faults(scores)
    print("\n".join(wrong) or f"{len(scores)} scores: no fault")
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
