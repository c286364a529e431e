"""Damage and read recordings: one seed, or many in a child process."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.kinds import KINDS
from tests.fuzz.outcome import FaultError, outcome_of, prepare

MEMORY_GIB = 6


def attempt(kind: str, seed: int, folder: Path) -> tuple[str, str]:
    """Damage and read one recording; return the damage and the outcome.

    Raises
    ------
    FaultError
        The reader has a fault; the message contains the damage.
    """
    draw = Random(f"{kind} {seed}")
    root = KINDS[kind].write(folder)
    prepare(folder)
    damages = [draw.choice(KINDS[kind].ways)(draw, root)]
    while root.exists() and draw.random() < 0.3:
        damages.append(draw.choice(KINDS[kind].ways)(draw, root))
    text = "; ".join(damages)
    try:
        return text, outcome_of(root, KINDS[kind].read)
    except FaultError as error:
        raise FaultError(f"{kind}, seed {seed} ({text}): {error}") from error


def attempts(kind: str, seeds: range) -> tuple[Counter[str], list[str]]:
    """Return the numbers of outcomes for some seeds, and the faults."""
    outcomes: Counter[str] = Counter()
    faults = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            try:
                outcomes[attempt(kind, seed, Path(folder))[1]] += 1
            except FaultError as error:
                outcomes["FAULT"] += 1
                faults.append(str(error))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                Path(folder).mkdir()
    return outcomes, faults


def bound_memory() -> None:
    import resource  # not on Windows

    bytes_allowed = MEMORY_GIB * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (bytes_allowed, bytes_allowed))
