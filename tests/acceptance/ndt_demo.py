"""Scores of the demo transformer of spikes, beside the true rates and regressions.

usage: python -m tests.acceptance.ndt_demo [FOLDER]

For the test trials of the six animals of its training, and of the unseen animal after
a fine-tuning of its stitchers in FOLDER. Prints the tables of the model card and exits
with 1 if a requirement is missed. Takes about 10 minutes on two cores.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from omnimouse_app.cli.terminal import markdown_table
from omnimouse_model.analysis.fit import finetune
from omnimouse_model.analysis.spike_scores import HELD_OUT, decode_trial_labels, trial_counts
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.families.ndt.predictor import N_WINDOWS, ONSET, TRIALS, WINDOW, NdtPredictor
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.metrics.information import LikelihoodSums
from omnimouse_model.metrics.time_blocks import Z_95, Estimate, jackknife, time_blocks
from omnimouse_model.simulate.demo import unseen_spiking_session
from omnimouse_model.simulate.spiking_laboratory import (
    ANIMALS,
    UNSEEN_SPIKES,
    laboratory_animal,
    laboratory_rates,
)
from tests.acceptance.history_glm import predict_windows

SHARE = 0.8
"""Share of the bits per spike of the true rates that co-smoothing must reach."""
FORWARD = slice(ONSET, ONSET + N_WINDOWS * WINDOW)
TRUE, TRUE_FORWARD = "true rates", "true rates, bins of forward"
REGRESSION, WITH_TIME = "regression on the past", "regression on past and time"
Sums = Mapping[str, LikelihoodSums]
Value = Callable[[Sums], float]


@dataclass(frozen=True, slots=True)
class Animal:
    """Likelihoods of the test trials of an animal, by condition, and their blocks."""

    name: str
    sums: Sums
    blocks: np.ndarray

    def estimate(self, value: Value) -> Estimate:
        """Return a score with its interval over trials."""
        return jackknife(
            value(self.sums),
            [
                value({k: v.of_trials(self.blocks != b) for k, v in self.sums.items()})
                for b in np.unique(self.blocks)
            ],
        )


def animal(model: NdtPredictor, session: Session) -> Animal:
    """Return the likelihoods of a model, of the true rates and of regressions."""
    starts = session.window_starts("test", spec=TRIALS)
    train, validation, test = (
        trial_counts(session, model, session.window_starts(tier, spec=TRIALS))
        for tier in ("train", "validation", "test")
    )
    sums: dict[str, LikelihoodSums] = {
        condition: LikelihoodSums.of(*model.held_out_rates(condition, session, test))
        for condition in HELD_OUT
    }
    rates = laboratory_rates(session.id)[session.trials.tier == "test"]
    ahead = test[:, FORWARD]
    sums[TRUE] = LikelihoodSums.of(rates, test)
    sums[TRUE_FORWARD] = LikelihoodSums.of(rates[:, FORWARD], ahead)
    windows = range(FORWARD.start, FORWARD.stop, WINDOW)
    for name, knows_time in ((REGRESSION, False), (WITH_TIME, True)):
        found = predict_windows(train, validation, test, windows, WINDOW, knows_time=knows_time)
        sums[name] = LikelihoodSums.of(found, ahead)
    return Animal(session.id, sums, time_blocks(starts, TRIALS.duration_s))


def bits_in(condition: str) -> Value:
    """Return the function of the pooled bits per spike of a condition."""
    return lambda sums: sums[condition].pooled()


def share(sums: Sums) -> float:
    """Return co-smoothing as a share of what the true rates reach."""
    return sums["co-smoothing"].pooled() / sums[TRUE].pooled()


def gain_over(regression: str) -> Value:
    """Return the function of the gain of forward prediction on the same trials."""
    return lambda sums: sums["forward"].pooled() - sums[regression].pooled()


ROWS: Mapping[str, Value] = {
    **{name: bits_in(name) for name in (*HELD_OUT, TRUE, TRUE_FORWARD)},
    **{name: bits_in(name) for name in (REGRESSION, WITH_TIME)},
    "co-smoothing / true rates": share,
    "forward − regression on the past": gain_over(REGRESSION),
    "forward − regression on past and time": gain_over(WITH_TIME),
}

SHOWN = ("co-smoothing", TRUE, "forward", REGRESSION, WITH_TIME, TRUE_FORWARD)
"""Rows that are printed for each animal."""


def mean_of(estimates: list[Estimate]) -> Estimate:
    """Return the mean over animals, with its interval over their trials."""
    value = float(np.mean([e.value for e in estimates]))
    error = float(np.sqrt(np.sum([e.error**2 for e in estimates])) / len(estimates))
    low, high = value - Z_95 * error, value + Z_95 * error
    return Estimate(value, error, low, high, len(estimates))


def cell(estimate: Estimate) -> str:
    """Return a score with its interval."""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def main(folder: Path) -> int:
    """Print the tables; return 1 if a requirement is missed."""
    model = load_predictor("ndt-demo", device="cpu")
    assert isinstance(model, NdtPredictor)
    unseen = open_session(unseen_spiking_session())
    start_s = time.perf_counter()
    tuned = finetune(model, unseen, folder, device="cpu")
    wall_s = time.perf_counter() - start_s
    assert isinstance(tuned, NdtPredictor)
    animals, choices = [], []
    for name in ANIMALS:
        is_unseen = name == UNSEEN_SPIKES
        session = unseen if is_unseen else open_session(laboratory_animal(name))
        own = tuned if is_unseen else model
        animals.append(animal(own, session))
        decoded = decode_trial_labels(own, session, "choice")
        low, high = decoded.interval
        choices.append(
            {
                "animal": name,
                "choices decoded": f"{decoded.accuracy:.3f} [{low:.3f}, {high:.3f}]",
                "most frequent choice": f"{decoded.chance:.3f}",
            }
        )
        print(f"{name} …", file=sys.stderr, flush=True)
    trained = animals[:-1]
    means = {row: mean_of([a.estimate(value) for a in trained]) for row, value in ROWS.items()}
    table = [
        {"pooled bits per spike": row, "mean of the six": cell(means[row])}
        | {UNSEEN_SPIKES: cell(animals[-1].estimate(value))}
        for row, value in ROWS.items()
    ]
    each = [
        {"animal": a.name} | {row: f"{ROWS[row](a.sums):.3f}" for row in SHOWN} for a in animals
    ]
    for rows in (table, each, choices):
        print(markdown_table(rows) + "\n")
    print(f"fine-tuning to {UNSEEN_SPIKES}: {wall_s:.0f} s\n")
    is_met = {
        f"co-smoothing reaches {SHARE:.0%} of the true rates, on average": (
            means["co-smoothing / true rates"].value >= SHARE
        ),
        **{
            f"forward prediction is above the {name}, {group}": all(
                gain_over(name)(a.sums) > 0 for a in members
            )
            for name in (REGRESSION, WITH_TIME)
            for group, members in (
                ("in each of the six", trained),
                (f"in {UNSEEN_SPIKES}", animals[-1:]),
            )
        },
    }
    for text, met in is_met.items():
        print(f"{'met' if met else 'MISSED'}: {text}")
    return 0 if all(is_met.values()) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else mkdtemp())))
