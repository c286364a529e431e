"""The official masking rules in the plainest code, to compare ours with.

Follows the specification of the released model line by line (its sections 6 to 8) and
the project's one rule for small populations; nothing is shared with the package.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

S = F = 60


@dataclass(frozen=True, eq=False)
class PlainMask:
    """What a strategy comes to: (60, N) of where tokens and queries begin."""

    tokens: np.ndarray
    queries: np.ndarray
    video_steps: list[int]
    context: tuple[int, int]
    behavior: str


def official_rows() -> dict[str, dict[str, Any]]:
    """The tables as they were published, by full name."""
    folder = files("omnimouse_model") / "masks" / "strategy_tables"
    training = json.loads((folder / "training.json").read_text("utf-8"))["masks"]
    rows = {f"train/{row['index']}": row for row in training}
    evaluation = json.loads((folder / "evaluation.json").read_text("utf-8"))
    for group in ("validation", "test", "test_additional"):
        named = evaluation[group]
        if isinstance(named, list):
            named = {row["name"]: row for row in named}
        rows |= {f"{group}/{name}": row for name, row in named.items()}
    return rows


def scaled_counts(row: dict[str, Any], n: int) -> dict[str, Any]:
    """Counts of a small population."""
    row = dict(row)
    if n >= 3500:
        return row
    for key in ("n_visible_neurons", "max_n_reconstructed_neurons"):
        if row[key]:
            row[key] = max(1, round(row[key] * n / 4096))
    visible, asked = row["n_visible_neurons"], row["max_n_reconstructed_neurons"]
    n_visible = n if visible is None else min(visible, n)
    if 0 < n_visible < n:
        asked = n if asked is None else asked
        row["max_n_reconstructed_neurons"] = min(asked, n - n_visible)
    return row


def plain_mask(row: dict[str, Any], n: int) -> PlainMask:
    """Tokens, queries, video and context of a strategy; ValueError where it has none.

    `row` holds the fields under their official names.
    """
    # at construction
    prefix = row["prefix_len"]
    if prefix is None:
        prefix = row["max_response_context_samples"]
    full = row["full_population_prefix_len"]
    if full is None or row["n_visible_neurons"] is None:
        full = 0
    rcs = row["response_context_start_idx"] or 0
    psi = rcs if row["prefix_start_idx"] is None else row["prefix_start_idx"]
    # realisation
    visible = row["n_visible_neurons"]
    visible = n if visible is None else min(visible, n)
    rcs = min(max(rcs, 0), S)
    mrc = row["max_response_context_samples"]
    mrc = S - rcs if mrc is None else min(mrc, S - rcs)
    rce = rcs + mrc
    psi = min(max(psi, rcs), rce)
    prefix = rce - psi if prefix is None else min(prefix, rce - psi)
    full = min(full, prefix)
    n_rec = row["max_n_reconstructed_neurons"]
    n_rec = n if n_rec is None else min(n_rec, n)
    ssi = row["suffix_start_idx"]
    if ssi is None:
        ssi = full if visible < n else prefix
    ssi = min(max(ssi, 0), S)
    sl = S - ssi if row["suffix_len"] is None else min(row["suffix_len"], S - ssi)
    v0 = min(max(row["n_visible_frames_start_idx"] or 0, 0), F)
    frames = row["n_visible_frames"]
    frames = F - v0 if frames is None else min(frames, F - v0)
    # forward
    fpe, pe = psi + full, psi + prefix
    tokens, queries = np.zeros((S, n), bool), np.zeros((S, n), bool)
    if full > 0 and 0 < visible < n:
        _tokenise(tokens, psi, fpe, n)
    if prefix > 0 and visible > 0 and fpe < pe:
        _tokenise(tokens, fpe, pe, visible)
    if sl > 0 and n_rec > 0:
        if ssi < 5:
            raise ValueError("skip_n_samples")
        n_start, se = n - n_rec, ssi + sl
        fpe_ = min(fpe + 5, S) if full > 0 else 0
        pe_ = min(pe + 5, S) if prefix > 0 else 0
        if n_start >= visible or ssi >= pe_:
            _query(queries, max(ssi, fpe_), se, n_start, n)
        else:
            _query(queries, max(ssi, fpe_), min(pe_, se), visible, n)
            if se > pe_:
                _query(queries, pe_, se, n_start, n)
    elif not row["behavior_reconstructed"]:
        raise ValueError("nothing is asked")
    steps = list(range(30))
    if frames < F:
        first, last = 2 + (v0 + 2 - 6) // 2, 2 + (v0 + frames + 2 - 6) // 2
        steps = list(range(max(0, first), max(0, last))) if frames else []
    behavior = "target" if row["behavior_reconstructed"] else "hidden"
    behavior = "visible" if row["behavior_encoded"] else behavior
    return PlainMask(tokens, queries, steps, (rcs, rce), behavior)


def _tokenise(tokens: np.ndarray, start: int, stop: int, neurons: int) -> None:
    if stop - start < 10 or (stop - start - 10) % 5:
        raise ValueError("not a slice of tokens")
    for j in range((stop - start - 10) // 5 + 1):
        tokens[start + 5 * j, :neurons] = True


def _query(queries: np.ndarray, start: int, stop: int, low: int, high: int) -> None:
    if stop <= start or high <= low or (stop - start) % 5:
        raise ValueError("an empty or ragged block of targets")
    for sample in range(start, stop, 5):
        queries[sample, low:high] = True
