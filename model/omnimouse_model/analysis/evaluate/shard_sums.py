"""Sums of an unfinished shard as arrays, from which a later process goes on.

For shards of live scores: groups of stimuli, repeats and ceilings have no sums here.
"""

from dataclasses import fields
from typing import Any

import numpy as np

from omnimouse_model.analysis.evaluate.shard import ShardScores
from omnimouse_model.metrics.correlation import Moments
from omnimouse_model.metrics.time_blocks import BlockSums, Centres

Facts = dict[str, Any]  # Any: whatever JSON holds
Arrays = dict[str, np.ndarray]


def shard_sums(scores: ShardScores) -> tuple[list[Facts], Arrays]:
    """Return JSON values of each running score, and the arrays of all of them."""
    facts: list[Facts] = []
    arrays = {"added": np.array(sorted(scores.added), np.int64).reshape(-1, 2)}
    for place, score in enumerate(scores.running):
        facts.append(
            {
                "n_windows": score.n_windows,
                "refusal": score.refusal,
                "behavior_refusals": score.behavior_refusals,
            }
        )
        parts = _block_arrays(score.blocks, "responses")
        parts |= _block_arrays(score.behavior, "behavior")
        if score.centres is not None:
            for one in fields(Centres):
                parts[f"centres_{one.name}"] = getattr(score.centres, one.name)
        arrays |= {f"{place}_{name}": array for name, array in parts.items()}
    return facts, arrays


def restore_sums(scores: ShardScores, facts: list[Facts], arrays: Arrays) -> None:
    """Put stored sums into the empty scores of the same shard.

    Raises
    ------
    KeyError, ValueError
        The sums are of another shard.
    """
    for place, (score, of_score) in enumerate(zip(scores.running, facts, strict=True)):
        prefix = f"{place}_"
        parts = {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        score.blocks = _block_sums(parts, "responses", len(score.neurons))
        score.behavior = _block_sums(parts, "behavior", len(score.channels))
        score.n_windows = int(of_score["n_windows"])
        # It may have been refused now, before the first window.
        score.refusal = score.refusal or str(of_score["refusal"])
        score.behavior_refusals = dict(of_score["behavior_refusals"])
        if "centres_prediction" in parts:
            score.centres = Centres(
                **{one.name: parts[f"centres_{one.name}"] for one in fields(Centres)}
            )
    scores.added = {(batch, group) for batch, group in arrays["added"].tolist()}


def _block_arrays(sums: BlockSums, name: str) -> Arrays:
    """Return block numbers (b,), counts (b, n) and the other sums (b, 6, n)."""
    parts = list(sums.blocks.values())
    if not parts:
        return {}
    return {
        f"{name}_blocks": np.array(list(sums.blocks), np.int64),
        f"{name}_counts": np.stack([found.count for found, _ in parts]),
        f"{name}_sums": np.stack(
            [
                np.stack([*(getattr(found, one.name) for one in fields(found)[1:]), total])
                for found, total in parts
            ]
        ),
    }


def _block_sums(arrays: Arrays, name: str, n_columns: int) -> BlockSums:
    sums = BlockSums()
    if f"{name}_blocks" not in arrays:
        return sums
    blocks = arrays[f"{name}_blocks"].tolist()
    counts, others = arrays[f"{name}_counts"], arrays[f"{name}_sums"]
    expected = (len(blocks), n_columns), (len(blocks), 6, n_columns)
    if (counts.shape, others.shape) != expected:
        raise ValueError(
            f"{name}: sums of shape {counts.shape} and {others.shape}; expected "
            f"{expected[0]} and {expected[1]}."
        )
    for block, count, (*moments, total) in zip(blocks, counts, others, strict=True):
        sums.blocks[block] = Moments(count, *moments), total
    return sums
