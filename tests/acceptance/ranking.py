"""Rank toy sessions of which half share the dynamics of the held-out one.

    python -m tests.acceptance.ranking [--seeds 10] [--results FILE]

Prints lines for each simulated world, then one line per check, and exits with 1 if a
check fails. Stopped, the same command continues.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnimouse_model.analysis.ranking.curve_table import ORDERS
from omnimouse_model.analysis.ranking.rank import ModelFactory, pretrain_curve, rank_sessions
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_model.families.ndt.network import NdtConfig
from omnimouse_model.families.ndt.training import NdtTrainConfig
from omnimouse_model.inference.families import TrainingPlan
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.write import cache_dir
from omnimouse_model.training.config import RunSettings
from tests.model.dynamics_world import HELDOUT, N_BINS, RELATIVES, SPEC, STRANGERS, dynamics_session

MIN_SHARE = 0.9
"""Share of the worlds in which the three relatives must be first."""
EPOCHS, TRANSFER_STEPS, BATCH = 60, 100, 32
N_TRIALS, N_NEURONS = 300, 20


def small_factory() -> ModelFactory:
    """Return a factory of transformers that forecast, small enough for one core."""
    model = NdtConfig(
        d_token=8,
        mult=1,
        n_bins=N_BINS,
        d_model=32,
        n_layers=1,
        n_heads=2,
        d_inner=64,
        dropout=0.0,
        block_dropout=0.0,
        has_session=False,
    )
    config = NdtTrainConfig(
        seed=0,
        model=model,
        spec=SPEC,
        schemes=("causal",),
        # Long forecasts need long stretches of hidden bins in training.
        causal_ratio=0.6,
        batch=BATCH,
        # A core of three sessions trains as often on each as that of one.
        epochs=EPOCHS,
        # With higher rates, cores of three sessions do not learn.
        lr=5e-3,
        mean_rates=True,
        validate_every=75,
    )
    tree = decode_json(json.dumps(asdict(config)), "the config")
    plan = TrainingPlan("ndt", RunSettings(tree=tree), config)
    return ModelFactory(plan, {"steps": TRANSFER_STEPS, "batch": BATCH}, device="cpu")


@dataclass(frozen=True)
class World:
    """Six sessions and a held-out one, and where their scores are kept."""

    seed: int
    results: Path

    def study(self) -> dict[str, Any]:
        """Return the arguments of a ranking and of a curve."""
        heldout, *sessions = (
            dynamics_session(name, self.seed, N_TRIALS, N_NEURONS)
            for name in (HELDOUT, *RELATIVES, *STRANGERS)
        )
        return {
            "factory": small_factory(),
            "sessions": sessions,
            "heldout": heldout,
            "seeds": [self.seed],
            "results": self.results,
        }

    def ranking(self) -> RankTable:
        """Rank the sessions, and print their order."""
        table = rank_sessions(**self.study())
        text = ", ".join(
            f"{name} {table.mean[table.sessions.index(name), 0]:.3f}"
            for name in table.order(HELDOUT)
        )
        print(f"world {self.seed}: {text}", flush=True)
        return table

    def at_three(self, table: RankTable) -> dict[str, float]:
        """Pretrain on three sessions of each order, and print the test scores."""
        curve = pretrain_curve(ranking=table, ks=[3], **self.study())
        scores = {mean.order: mean.mean for mean in curve.means()}
        text = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        print(f"world {self.seed}, three sessions: {text}", flush=True)
        return scores


def main() -> int:
    """Run all worlds; return 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--results", type=Path, default=cache_dir() / "ranking" / "acceptance.ranking.jsonl"
    )
    options = parser.parse_args()
    # Small matrices: more threads are slower.
    torch.set_num_threads(1)
    worlds = [World(seed, options.results) for seed in range(options.seeds)]
    tables = [world.ranking() for world in worlds]
    firsts = [table.order(HELDOUT)[: len(RELATIVES)] for table in tables]
    hits = sum(set(first) == set(RELATIVES) for first in firsts)
    pairs = zip(worlds, tables, strict=True)
    scores = [world.at_three(table) for world, table in pairs]
    ranked, random, reverse = (float(np.mean([score[name] for score in scores])) for name in ORDERS)
    checks = {
        f"relatives first in {hits} of {len(worlds)} worlds": hits >= MIN_SHARE * len(worlds),
        f"with three sessions, mean over worlds: ranked {ranked:.3f} >= random "
        f"{random:.3f} >= reverse {reverse:.3f} bits per spike": ranked >= random >= reverse,
    }
    for text, is_passed in checks.items():
        print(f"{'ok' if is_passed else 'FAILED'}: {text}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
