"""Insert single faults into the library and check whether its tests find them.

    python -m tests.mutation                      200 mutants, seed 0, two processes
    python -m tests.mutation --list               list the mutants without running them
    python -m tests.mutation --json OUT.json      write the outcome of each mutant

A mutant is killed if a test of its room fails or does not end in time. Surviving
mutants with the same behaviour as the original are listed with the reason in
`equivalent.toml`.

Existing tools are not suitable: mutmut replaces each function by a wrapper, whose
signature jaxtyping cannot read, and cosmic-ray starts Python for each mutant, which
takes longer than the tests. Here, each test run is forked from a process that has
imported the libraries, in a copy of the checkout with the fault. Only test files that
reach the line of the fault run, the fastest first; slow tests run only for mutants
that all others leave alive.
"""

import argparse
import ast
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of, sample
from tests.mutation.rooms import ROOMS, Room

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("model", "widgets", "omnimouse_app", "tests", "pyproject.toml", "README.md")
HEADLESS = "not gui and not browser and not gpu"
MARKS = (f"not slow and {HEADLESS}", f"slow and {HEADLESS}")
"""Tests of the first and of the second pass."""
TRACE_LIMIT_S = 900.0
NO_TESTS = 5
"""Exit status of pytest if the marks exclude all tests of a file."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of the tests of a room for one mutant."""

    room: str
    mutant: str
    status: str
    """`killed`, `timeout` or `survived`."""
    test: str
    """The first test that failed."""
    seconds: float


def main() -> int:
    """Run the mutation run; return 1 if too many mutants survive."""
    options = _options()
    rooms = {name: _mutants(room) for name, room in ROOMS.items()}
    room_of = {mutant: name for name, own in rooms.items() for mutant in own}
    mutants = sample(rooms, options.count, options.seed)
    if options.only:
        mutants = [mutant for mutant in mutants if options.only in mutant.path]
    if options.list:
        for mutant in mutants:
            print(f"{room_of[mutant]:<10}  {mutant}")
        return 0
    _preload()
    outcomes = list(_run(mutants, room_of, options.jobs))
    if options.json:
        rows = [asdict(outcome) for outcome in outcomes]
        Path(options.json).write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    return _report(outcomes)


def _options() -> argparse.Namespace:
    first, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=first)
    parser.add_argument("--count", type=int, default=200, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at once")
    parser.add_argument("--only", help="mutants of paths that contain this text")
    parser.add_argument("--list", action="store_true", help="list them, run nothing")
    parser.add_argument("--json", help="write every outcome to this file")
    return parser.parse_args()


def _mutants(room: Room) -> list[Mutant]:
    files = [path for pattern in room.sources for path in sorted(ROOT.glob(pattern))]
    return [mutant for path in files for mutant in mutants_of(path, ROOT)]


def _preload() -> None:
    """Import the libraries of the tests before forking, but no file of this project."""
    import beartype  # noqa: F401
    import hypothesis  # noqa: F401
    import jaxtyping  # noqa: F401
    import pytest  # noqa: F401
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import torch
    import torch._dynamo
    import torch.nn.attention.flex_attention
    import zarr  # noqa: F401

    torch.set_num_threads(1)
    assert not any(name.startswith("omnimouse_") for name in sys.modules)


def _run(mutants: list[Mutant], room_of: dict[Mutant, str], n_processes: int) -> Iterable[Outcome]:
    context = multiprocessing.get_context("fork")
    start = time.monotonic()
    with ProcessPoolExecutor(n_processes, context, _enter_copy) as pool:
        left = mutants
        for marks in MARKS:
            jobs = _jobs(left, room_of, marks, pool)
            elapsed = time.monotonic() - start
            print(f"{elapsed:4.0f} s  {len(jobs)} mutants, tests '{marks}'", flush=True)
            left = []
            for job, outcome in zip(jobs, pool.map(_test, jobs), strict=True):
                elapsed = time.monotonic() - start
                print(f"{elapsed:4.0f} s  {outcome.status:<8}  {job.mutant}", flush=True)
                if outcome.status == "survived" and marks != MARKS[-1]:
                    left.append(job.mutant)
                else:
                    yield outcome


@dataclass(frozen=True, slots=True)
class Job:
    """Test files that reach the line of a mutant, the fastest first."""

    mutant: Mutant
    room: str
    tests: list[str]
    marks: str
    limit_s: float


def _jobs(
    mutants: list[Mutant], room_of: dict[Mutant, str], marks: str, pool: ProcessPoolExecutor
) -> list[Job]:
    """Trace the tests of the rooms of these mutants, and select those of each one."""
    rooms = {room_of[mutant] for mutant in mutants}
    files = sorted({path for room in rooms for path in _tests(ROOMS[room])})
    traces = pool.map(_reached_lines, files, [marks] * len(files))
    reached = dict(zip(files, traces, strict=True))
    jobs = []
    for mutant in mutants:
        lines, room = _statement_lines(mutant), room_of[mutant]
        tests = [f for f in _tests(ROOMS[room]) if lines & reached[f].of(mutant)]
        tests.sort(key=lambda path: reached[path].seconds)
        limit_s = max(60.0, 10 * sum(reached[path].seconds for path in tests))
        jobs.append(Job(mutant, room, tests, marks, limit_s))
    return jobs


@cache  # the second pass may come after an edit of the checkout
def _statement_lines(mutant: Mutant) -> set[int]:
    """Return the lines of the innermost statement that a mutant changes.

    The trace does not contain all lines of a statement, for example not those of a
    constant tuple.
    """
    tree = ast.parse((ROOT / mutant.path).read_text(encoding="utf-8"))
    statements = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
    ]
    inner = min(statements, key=lambda node: (node.end_lineno or 0) - node.lineno)
    if isinstance(inner, ast.FunctionDef | ast.ClassDef | ast.If | ast.For | ast.With):
        return set(range(inner.lineno, inner.body[0].lineno)) | {mutant.line}
    return set(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))


@dataclass(frozen=True, slots=True)
class Reached:
    """Lines of the library that one test file runs, and its duration."""

    lines: dict[str, set[int]]
    seconds: float

    def of(self, mutant: Mutant) -> set[int]:
        """Return the lines in the file of a mutant."""
        return self.lines.get(mutant.path, set())


def _reached_lines(tests: str, marks: str) -> Reached:
    """Run one test file without a fault and return the lines that it runs."""
    start, log, traced = time.monotonic(), Path("traced.log"), Path("traced.json")
    traced.unlink(missing_ok=True)
    status = _run_tests([tests], marks, log, TRACE_LIMIT_S, traced)
    if status != "survived":
        tail = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"{tests} fails without a fault ({status}):\n{tail}")
    lines = json.loads(traced.read_text())
    return Reached(
        {path: set(numbers) for path, numbers in lines.items()}, time.monotonic() - start
    )


def _enter_copy() -> None:
    """Change to a copy of the checkout; child processes import from it as well."""
    copy = Path(tempfile.mkdtemp(prefix="omnimouse-mutation-"))
    multiprocessing.util.Finalize(None, shutil.rmtree, (copy, True), exitpriority=1)
    ignored = shutil.ignore_patterns("__pycache__", "*.png")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    os.chdir(copy)
    packages = [str(copy), str(copy / "model"), str(copy / "widgets")]
    sys.path[:0] = packages
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OMP_NUM_THREADS": "1",
    }
    sys.dont_write_bytecode = True


def _test(job: Job) -> Outcome:
    """Insert one fault into the copy, run the tests that reach it, and remove it."""
    path = Path(job.mutant.path)
    source = path.read_text(encoding="utf-8")
    log, start = Path("mutant.log"), time.monotonic()
    try:
        path.write_text(job.mutant.applied(source), encoding="utf-8")
        status = "survived"
        if job.tests:
            status = _run_tests(job.tests, job.marks, log, job.limit_s)
    finally:
        path.write_text(source, encoding="utf-8")
    test = _first_failure(log) if status != "survived" else ""
    seconds = round(time.monotonic() - start, 1)
    return Outcome(job.room, str(job.mutant), status, test, seconds)


def _tests(room: Room) -> list[str]:
    paths = [path for pattern in room.tests for path in sorted(ROOT.glob(pattern))]
    return list(dict.fromkeys(path.relative_to(ROOT).as_posix() for path in paths))


def _run_tests(
    tests: list[str], marks: str, log: Path, limit_s: float, traced: Path | None = None
) -> str:
    """Run tests in a fork with its own temporary files and fits; return the status."""
    with tempfile.TemporaryDirectory(prefix="omnimouse-mutant-") as scratch:
        child = os.fork()
        if child == 0:
            os.setsid()
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            _separate_files(Path(scratch))
            run = _pytest if traced is None else partial(_traced, traced=traced)
            code = run(tests, marks)
            sys.stdout.flush()
            os._exit(code)
        code = _exit_code(child, limit_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # processes of a failed test
        if code is None:
            os.waitpid(child, 0)
            return "timeout"
    return "survived" if code in (0, NO_TESTS) else "killed"


def _separate_files(scratch: Path) -> None:
    """Share simulated recordings between runs, but not fits: mutants write these."""
    shared, own = ROOT / ".venv" / "omnimouse-cache", scratch / "cache"
    own.mkdir()
    for name in ("sessions", "hub"):
        if (shared / name).exists():
            (own / name).symlink_to(shared / name)
    tempfile.tempdir = str(scratch)
    os.environ |= {"OMNIMOUSE_CACHE": str(own), "TMPDIR": str(scratch)}


def _exit_code(child: int, limit_s: float) -> int | None:
    """Wait for a child process; return None if it does not end in time."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        ended, wait_status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(wait_status)
        time.sleep(0.02)
    return None


def _traced(tests: list[str], marks: str, traced: Path) -> int:
    """Run pytest and write the lines of the library that it ran."""
    import coverage

    trace = coverage.Coverage(data_file=None, include=["model/*"])
    trace.start()
    code = _pytest(tests, marks)
    trace.stop()
    data = trace.get_data()
    root = Path.cwd()
    lines = {
        Path(path).relative_to(root).as_posix(): data.lines(path) for path in data.measured_files()
    }
    traced.write_text(json.dumps(lines))
    return code


def _pytest(tests: list[str], marks: str) -> int:
    """Run pytest in this forked process; return its exit status, 1 after an error."""
    import pytest

    plugins = ["-p", "_hypothesis_pytestplugin", "-p", "jaxtyping._pytest_plugin"]
    options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-m", marks]
    options.append("--jaxtyping-packages=omnimouse_model,beartype.beartype")
    try:
        return int(pytest.main([*plugins, *options, *tests]))
    except BaseException as error:
        print(f"FAILED {error!r}")
        return 1


def _first_failure(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return failures[0].split()[1] if failures else (lines[-1] if lines else "")


def _report(outcomes: list[Outcome]) -> int:
    """Print a table of the rooms and the surviving mutants; return 1 below 90 %."""
    equivalent = _equivalent()
    print("\n| room | mutants | killed | equivalent | survived | killed of the rest |")
    print("| --- | --- | --- | --- | --- | --- |")
    totals = [0, 0, 0, 0]
    for room in [*ROOMS, "all"]:
        own = [outcome for outcome in outcomes if room in (outcome.room, "all")]
        survivors = [outcome for outcome in own if outcome.status == "survived"]
        same = sum(_key(outcome) in equivalent for outcome in survivors)
        killed = len(own) - len(survivors)
        totals = [len(own), killed, same, len(survivors) - same]
        share = killed / max(1, len(own) - same)
        print(f"| {room} | {' | '.join(map(str, totals))} | {share:.0%} |")
    print()
    for outcome in outcomes:
        if outcome.status == "survived":
            reason = equivalent.get(_key(outcome), "NOT EXPLAINED")
            print(f"- {outcome.mutant}: {reason}")
    return int(totals[1] < 0.9 * (totals[0] - totals[2]))


def _key(outcome: Outcome) -> str:
    """Return the key of a mutant: path and change, without the line number."""
    place, _, change = outcome.mutant.partition("  ")
    return f"{place.split(':')[0]}: {' '.join(change.split())}"


def _equivalent() -> dict[str, str]:
    path = Path(__file__).with_name("equivalent.toml")
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    sys.exit(main())
