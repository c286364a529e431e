"""Kills of a process that writes the last session and backups again and again."""

import json
import os
import random
import time
from functools import partial
from itertools import count
from pathlib import Path

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.live.analysis_file import SUFFIX, Analysis, read_analysis, write_analysis
from omnimouse_model.live.state_store import LastSession, StateStore, read_last_session
from tests.model.finetune_process import KNOWN
from tests.predictors import example_mask
from tests.soak.kill_commands import environment
from tests.soak.killed_process import Moment, end_of, forked

_LONGEST_S = 0.5
_CHANGES = 50
"""Changes of files in a few backups."""
_LAST = "live.json"


def kill_autosave(
    inputs: Path, folder: Path, kills: int, seed: int
) -> tuple[int, int, int, list[str]]:
    """Kill the process a number of times; return kills, runs, sound runs and faults.

    Every process goes on with the files that the one before has left.
    """
    session = open_session(inputs / "mice" / KNOWN)
    files, log = folder / "config", folder / "log.txt"
    files.mkdir()
    n_sound, faults = 0, []
    for number in range(kills):
        generator = random.Random(f"autosave {seed + number}")
        moment = Moment(generator.uniform(0, _LONGEST_S))
        if generator.random() < 0.5:
            moment = Moment(change=generator.randint(1, _CHANGES))
        log.unlink(missing_ok=True)
        work = partial(_write_always, session, files)
        end = end_of(forked(work, environment(folder), files), log, moment)
        if not end.is_killed:
            raise RuntimeError(f"writing ends without a kill: {end.text}")
        last = _last_written(end.text)
        # Removes what the kill has left, as a process that begins an hour later.
        _age(files)
        work = partial(_write_always, session, files, rounds=1)
        end = end_of(forked(work, environment(folder), files), folder / "next.txt")
        texts = [] if end.status == 0 else [f"the next process fails: {end.text}"]
        texts += _problems(files, last)
        n_sound += not texts
        faults += [f"--seed {seed + number} (autosave): {text}" for text in texts]
    return kills, kills, n_sound, faults


def _write_always(session: Session, files: Path, rounds: int | None = None) -> None:
    """Write the last session and a backup, then print their number; for ever."""
    store, mask = StateStore(files / _LAST), example_mask(session)
    first = _newest(files) + 1
    for number in count(first) if rounds is None else range(first, first + rounds):
        # The start of the window counts the rounds.
        analysis = Analysis(
            recording=str(session.path),
            recording_id=session.id,
            fingerprint=session.fingerprint,
            mask=mask,
            start_s=float(number),
        )
        values = {"session": str(session.path), "analysis": analysis.to_dict()}
        store.save(LastSession(**values))
        store.back_up("mouse", partial(write_analysis, analysis=analysis))
        print(number, flush=True)


def _newest(files: Path) -> int:
    """Return the number of the last session, -1 if there is none."""
    last = read_last_session(files / _LAST)
    return -1 if last is None else int(last.analysis["start_s"])


def _last_written(text: str) -> int:
    """Return the number of the last round that was completed, -1 for none."""
    lines = text.split("\n")[:-1]  # the last one may be torn
    return int(lines[-1]) if lines else -1


def _age(files: Path) -> None:
    """Give temporary files the time of two hours ago."""
    at = time.time() - 7200
    for path in files.rglob(".*"):
        os.utime(path, (at, at))


def _problems(files: Path, last: int) -> list[str]:
    """Return what is wrong after a kill and one more round."""
    texts = [f"{path.name} remains" for path in files.rglob(".*")]
    copies = sorted((files / "unsaved").glob(f"*{SUFFIX}"))
    starts = []
    for path in copies:
        try:
            starts.append(int(read_analysis(path).start_s))
        except Exception as error:  # whatever a torn file raises
            texts.append(f"{path.name} does not open: {error}")
    if last >= 0 and last not in starts:
        texts.append(f"backup {last} was complete, and is not there")
    recent = json.loads((files / "recent_analyses.json").read_text("utf-8"))
    if not recent or not Path(recent[0]).is_file():
        texts.append("the first of the recent analyses is not there")
    saved = read_last_session(files / _LAST)
    if saved is None or Analysis.from_dict(saved.analysis).start_s <= last:
        texts.append("the last session is not the last one written")
    return texts
