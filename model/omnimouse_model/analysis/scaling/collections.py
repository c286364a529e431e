"""Nested collections of training sessions, with a manifest of their contents."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from omnimouse_model.data.session_index import Catalogue, Entry
from omnimouse_model.storage.write import write_json

FORMAT = 1


def collections_manifest(
    catalogue: Catalogue,
    sizes: Sequence[int],
    seed: int,
    *,
    always: Sequence[str] = (),
    worth: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Draw nested collections (see `Catalogue.nested`) and return their manifest.

    The manifest lists the sessions of each collection with neurons, minutes by tier and
    by kind of stimulus, and the totals, as JSON values. It depends only on the
    arguments.
    """
    # Nested, so that a curve over sizes compares the same sessions plus more.
    drawn = catalogue.nested(sorted(sizes), seed, always=always, worth=worth)
    for smaller, larger in pairwise(drawn):
        assert {e.id for e in smaller} <= {e.id for e in larger}
    return {
        "omnimouse_collections": FORMAT,
        "seed": seed,
        "order": "drawn" if worth is None else "ranked",
        "always": list(always),
        "collections": [_collection(entries) for entries in drawn],
    }


def write_manifest(manifest: Mapping[str, Any], path: str | Path) -> Path:
    """Write a manifest as JSON, atomically."""
    path = Path(path)
    write_json(path, manifest)
    return path


def _collection(entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "sessions": len(entries),
        # A session without an animal id counts as an animal of its own.
        "animals": len({entry.animal_id or entry.id for entry in entries}),
        "neurons": sum(entry.neurons for entry in entries),
        "minutes": sum(entry.total_minutes for entry in entries),
        "neuron_minutes": sum(e.neurons * e.total_minutes for e in entries),
        "members": [
            {
                "id": entry.id,
                "path": str(entry.path),
                "animal": entry.animal_id,
                "neurons": entry.neurons,
                "minutes": entry.total_minutes,
                "tiers": dict(entry.minutes),
                "stimuli": dict(entry.stimulus_minutes),
            }
            for entry in entries
        ],
    }
