"""Kills of commands at random moments: the same command again gives the same bits.

    python -m tests.soak.kills --kills 200
    python -m tests.soak.kills --command fetch --kills 1 --seed 17    repeats one fault

For each command, an undisturbed run gives the reference. Then the command is started,
killed by SIGKILL with its whole process group, and started again until it has run to
its end; half of the runs are killed twice or three times. Everything in its folder and
in its cache must then have the same bits (`kill_commands` names what is ignored), and
no other file may remain.

Most processes are forked from this one, which has imported everything, so that all
kills hit work; of nine runs, about one is of real processes, `python -m omnimouse_app`,
whose imports are killed, too. `finetune` is always forked. Five of nine runs are killed
at a moment that is uniform over the undisturbed duration, three before a change of the
files (opening for writing, renaming, removal), which are rare moments otherwise. A
fault that was found in time may need several tries to repeat; before a change, it
repeats exactly.

`autosave` stands for a process that writes backups of an analysis again and again: all
backups that a kill leaves must open, and the next process must remove what is
incomplete.

Prints one line per command, and exits with 1 after a fault.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.soak.kill_autosave import kill_autosave
from tests.soak.kill_commands import (
    COMMANDS,
    IMPORTED,
    Command,
    differences,
    environment,
    hub_process,
    write_inputs,
)
from tests.soak.killed_process import Ended, Moment, end_of, forked, spawned

Start = Callable[[Path, int], int]
AUTOSAVE = "autosave"
MORE_KILLS = 0.5
"""Probability of a further kill after a kill, at most three in a run."""
WAYS, WEIGHTS = ("time", "change", "process"), (5, 3, 1)
_LONGEST_TEXT = 300


@dataclass(slots=True)
class Tally:
    """Counts of one command."""

    kills: int = 0
    runs: int = 0
    identical: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Killer:
    """Kills one command in a scratch folder.

    Attributes
    ----------
    seconds
        Duration of undisturbed runs, by kind of process.
    changes
        Number of changes of files in an undisturbed run.
    """

    name: str
    command: Command
    inputs: Path
    folder: Path
    more: dict[str, str]
    seconds: dict[bool, float] = field(default_factory=dict)
    changes: list[int] = field(default_factory=list)

    @property
    def run_folder(self) -> Path:
        """Folder of every run: a file may contain its own path."""
        return self.folder / "run"

    @property
    def reference(self) -> Path:
        """Folder of the undisturbed run."""
        return self.folder / "reference"

    def start_of(self, is_real: bool) -> Start:
        """Return a function that starts the command."""
        out, settings = self.run_folder / "out", environment(self.run_folder)
        settings |= self.more
        if is_real:
            return spawned(self.command.words(self.inputs, out), settings)
        work = partial(self.command.run, self.inputs, out)
        return forked(work, settings, self.run_folder)

    def clear(self) -> Path:
        """Empty the folder of the run, and return the file of its output."""
        shutil.rmtree(self.run_folder, ignore_errors=True)
        (self.run_folder / "out").mkdir(parents=True)
        log = self.folder / "log.txt"
        log.unlink(missing_ok=True)
        return log

    def measure(self) -> list[str]:
        """Run without a kill; return differences between kinds of processes."""
        texts = []
        for is_real in (False, True)[: 2 - self.command.is_forked_only]:
            log = self.clear()
            end = end_of(self.start_of(is_real), log)
            if end.status:
                raise RuntimeError(f"{self.name} fails without a kill: {end.text}")
            self.seconds[is_real] = end.seconds
            if is_real:
                texts = differences(self.reference, self.run_folder)
                continue
            self.changes.append(int(log.with_suffix(".changes").read_text("utf-8")))
            shutil.rmtree(self.reference, ignore_errors=True)
            self.run_folder.rename(self.reference)
        return texts

    def kill(self, seed: int) -> tuple[int, str]:
        """Kill a run at random moments; return the number of kills, and a fault."""
        generator = random.Random(f"{self.name} {seed}")
        way = generator.choices(WAYS, WEIGHTS)[0]
        is_real = way == "process" and not self.command.is_forked_only
        start, log = self.start_of(is_real), self.clear()
        moments: list[Moment] = []
        try:
            while True:
                moment = self._moment(generator, way == "change", is_real)
                end = end_of(start, log, moment, self._limit_s(is_real))
                if not end.is_killed:
                    break
                moments.append(moment)
                if len(moments) == 3 or generator.random() > MORE_KILLS:
                    break
            # A process that ended before its moment is the last one.
            if end.is_killed:
                log.unlink(missing_ok=True)
                end = end_of(start, log, None, self._limit_s(is_real))
            fault = self._fault(end)
        except TimeoutError as error:
            fault = str(error)
        if fault:
            kind = "process" if is_real else "fork"
            fault = f"{kind}, killed {', '.join(map(str, moments))}: {fault}"
        return len(moments), fault

    def _moment(self, generator: random.Random, is_change: bool, is_real: bool) -> Moment:
        if is_change:
            return Moment(change=generator.randint(1, self.changes[0]))
        return Moment(generator.uniform(0, self.seconds[is_real]))

    def _limit_s(self, is_real: bool) -> float:
        return 60 + 20 * self.seconds[is_real]

    def _fault(self, end: Ended) -> str:
        if end.status or "Traceback" in end.text:
            lines = end.text.strip().splitlines()[-1:]
            return f"the last run ends with {end.status}: {lines}"
        texts = differences(self.reference, self.run_folder)
        return "; ".join(texts[:5])


def kill_command(killer: Killer, kills: int, seed: int) -> Tally:
    """Kill a command a number of times, from a seed on."""
    tally = Tally(faults=[f"a real process: {text}" for text in killer.measure()])
    while tally.kills < kills:
        n, fault = killer.kill(seed)
        tally.kills += n
        tally.runs += n > 0
        tally.identical += n > 0 and not fault
        if fault:
            again = f"--command {killer.name} --kills 1 --seed {seed}"
            tally.faults.append(f"{again}: {fault}")
            print(f"    {tally.faults[-1]}"[:_LONGEST_TEXT], flush=True)
        seed += 1
    return tally


def main() -> int:
    """Kill all commands, and print one line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="over all commands")
    parser.add_argument("--seed", type=int, default=0)
    names = [*COMMANDS, AUTOSAVE]
    parser.add_argument("--command", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    for module in IMPORTED:
        import_module(module)
    each = -(-options.kills // len(options.command))
    begin_s, n_faults, rows = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(prefix="omnimouse-kills-") as scratch:
        inputs = Path(scratch) / "inputs"
        write_inputs(inputs)
        with hub_process(inputs) as hub:
            for name in options.command:
                folder = Path(scratch) / name
                folder.mkdir()
                began_s = time.monotonic()
                if name == AUTOSAVE:
                    tally = Tally(*kill_autosave(inputs, folder, each, options.seed))
                else:
                    killer = Killer(name, COMMANDS[name], inputs, folder, hub)
                    tally = kill_command(killer, each, options.seed)
                rows.append((name, tally, time.monotonic() - began_s))
                n_faults += len(tally.faults)
                _print_row(*rows[-1])
    total_s = time.monotonic() - begin_s
    print(f"\n{sum(t.kills for _, t, _ in rows)} kills, {total_s:.0f} s\n")
    print("| command | kills | repeated identical | faults |")
    print("| --- | --- | --- | --- |")
    for name, tally, _ in rows:
        same = f"{tally.identical} of {tally.runs}"
        print(f"| {name} | {tally.kills} | {same} | {len(tally.faults)} |")
    for _, tally, _ in rows:
        for fault in tally.faults:
            print(f"- {fault}")
    return int(n_faults > 0)


def _print_row(name: str, tally: Tally, seconds: float) -> None:
    print(
        f"{name}: {tally.kills} kills, {tally.identical} of {tally.runs} runs "
        f"identical, {len(tally.faults)} faults, {seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
