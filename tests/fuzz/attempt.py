"""Damage and read files: one seed, or many, each in a process of its own."""

import gc
import shutil
import tempfile
from collections import Counter
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from random import Random

from tests.fuzz.kinds import KINDS
from tests.fuzz.outcome import outcome_of, prepare
from tests.fuzz.process import FaultError, in_fork


def attempt(kind: str, seed: int, folder: Path) -> str:
    """Damage and read one file in this process; return the outcome.

    Raises
    ------
    FaultError
        The reader has a fault; the message contains the damage.
    """
    draw = Random(f"{kind} {seed}")
    root = KINDS[kind].write(folder)
    prepare(folder)
    # h5py prints what it cannot close, where a file is damaged a second time.
    with redirect_stderr(StringIO()):
        damages = [KINDS[kind].damage(draw, root)]
        while root.exists() and draw.random() < 0.3:
            damages.append(KINDS[kind].damage(draw, root))
    try:
        return outcome_of(root, KINDS[kind].read)
    except FaultError as error:
        raise FaultError(f"({'; '.join(damages)}): {error}") from error


def attempts(kind: str, seeds: range) -> tuple[Counter[str], list[str]]:
    """Return the numbers of outcomes for some seeds, and the faults.

    The outcome of the undamaged file is no part of the numbers; it is a fault unless it
    is read.
    """
    outcomes: Counter[str] = Counter()
    faults = []
    try:
        whole = _outcome_of_whole(kind)
    except FaultError as error:
        whole = str(error)
    if whole != KINDS[kind].whole:
        faults.append(f"{kind}, undamaged: {whole}")
    gc.freeze()  # a search for garbage would copy the memory of each forked process
    for seed in seeds:
        folder = Path(tempfile.mkdtemp())
        try:
            outcomes[in_fork(partial(attempt, kind, seed, folder))] += 1
        except FaultError as error:
            outcomes["FAULT"] += 1
            faults.append(f"{kind}, seed {seed} {error}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return outcomes, faults


def _outcome_of_whole(kind: str) -> str:
    """Return the outcome of the undamaged file, read in this process.

    The processes that are forked from this one then have the modules, and the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        return outcome_of(KINDS[kind].write(Path(folder)), KINDS[kind].read)
