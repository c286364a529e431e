"""Put single faults into the library and see whether its tests find them.

    python -m tests.mutation                      200 mutants, seed 0, two processes
    python -m tests.mutation --list               the mutants, without running anything
    python -m tests.mutation --json OUT.json      write the outcome of each mutant

A mutant is killed if a test of its room fails or does not end in time. Survivors that
behave as the original does are listed with the reason in `equivalent.toml`.

A short program of our own: mutmut replaces every function by a wrapper, whose signature
jaxtyping cannot read, and cosmic-ray starts Python anew for each mutant, which here
costs more than the tests. Each test run is forked from a process that has imported the
libraries, in a copy of the checkout that holds the fault. Only those files of tests run
that reach the line of the fault, the fastest first.
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
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of, sample
from tests.mutation.rooms import ROOMS, Room

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("model", "widgets", "omnimouse_app", "tests", "pyproject.toml", "README.md")
NOT_SLOW = "not slow and not gui and not browser and not gpu"
TRACE_LIMIT_S = 900.0
NO_TESTS = 5
"""How pytest ends where every test of a file is left out by its marks."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests of a room say of one mutant."""

    room: str
    mutant: str
    status: str
    """`killed`, `timeout` or `survived`."""
    test: str
    """The first test that failed."""
    seconds: float


def main() -> int:
    """Run the mutation run; return 1 where too many mutants survive."""
    options = _options()
    rooms = {name: _mutants(room) for name, room in ROOMS.items()}
    room_of = {mutant: name for name, found in rooms.items() for mutant in found}
    chosen = sample(rooms, options.count, options.seed)
    if options.only:
        chosen = [mutant for mutant in chosen if options.only in mutant.path]
    if options.list:
        for mutant in chosen:
            print(f"{room_of[mutant]:<10}  {mutant}")
        return 0
    _preload()
    outcomes = list(_run(chosen, room_of, options.jobs))
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
    """Import what the tests need and no file of this project: forks share it."""
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


def _run(
    chosen: list[Mutant], room_of: dict[Mutant, str], n_processes: int
) -> Iterable[Outcome]:
    context = multiprocessing.get_context("fork")
    start = time.monotonic()
    with ProcessPoolExecutor(n_processes, context, _enter_copy) as pool:
        files = sorted({path for room in ROOMS.values() for path in _tests(room)})
        reached = dict(zip(files, pool.map(_reached_lines, files), strict=True))
        print(f"{len(files)} files of tests traced in {time.monotonic() - start:.0f} s")
        jobs = []
        for mutant in chosen:
            lines = _statement_lines(mutant)
            own = _tests(ROOMS[room_of[mutant]])
            near = [path for path in own if lines & reached[path].of(mutant)]
            near.sort(key=lambda path: reached[path].seconds)
            limit_s = max(60.0, 10 * sum(reached[path].seconds for path in near))
            jobs.append((room_of[mutant], mutant, near, limit_s))
        for count, outcome in enumerate(pool.map(_test, jobs), 1):
            elapsed = time.monotonic() - start
            print(
                f"{count}/{len(jobs)}  {elapsed:4.0f} s  {outcome.status:<8}  "
                f"{outcome.mutant}",
                flush=True,
            )
            yield outcome


def _statement_lines(mutant: Mutant) -> set[int]:
    """Return the lines of the innermost statement that a mutant changes.

    A line inside a statement, a constant of a folded tuple say, is not traced itself.
    """
    tree = ast.parse((ROOT / mutant.path).read_text(encoding="utf-8"))
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
    ]
    inner = min(around, key=lambda node: (node.end_lineno or 0) - node.lineno)
    if isinstance(inner, ast.FunctionDef | ast.ClassDef | ast.If | ast.For | ast.With):
        return set(range(inner.lineno, inner.body[0].lineno)) | {mutant.line}
    return set(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))


@dataclass(frozen=True, slots=True)
class Reached:
    """Lines of the library that one file of tests runs, and its time."""

    lines: dict[str, set[int]]
    seconds: float

    def of(self, mutant: Mutant) -> set[int]:
        """Lines of the file that a mutant changes."""
        return self.lines.get(mutant.path, set())


def _reached_lines(tests: str) -> Reached:
    """Run one file of tests without a fault, and note which lines it runs."""
    start, log, traced = time.monotonic(), Path("traced.log"), Path("traced.json")
    traced.unlink(missing_ok=True)
    status = _run_tests([tests], log, TRACE_LIMIT_S, traced)
    if status != "survived":
        tail = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"{tests} fails without a fault ({status}):\n{tail}")
    lines = json.loads(traced.read_text())
    return Reached(
        {path: set(found) for path, found in lines.items()}, time.monotonic() - start
    )


def _enter_copy() -> None:
    """Work in a copy of the checkout, from which also child processes import."""
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


def _test(job: tuple[str, Mutant, list[str], float]) -> Outcome:
    """Put one fault into the copy, run the tests that reach it, and take it out."""
    room, mutant, tests, limit_s = job
    path = Path(mutant.path)
    source = path.read_text(encoding="utf-8")
    log, start = Path("mutant.log"), time.monotonic()
    try:
        path.write_text(mutant.applied(source), encoding="utf-8")
        status = _run_tests(tests, log, limit_s) if tests else "survived"
    finally:
        path.write_text(source, encoding="utf-8")
    test = _first_failure(log) if status != "survived" else ""
    seconds = round(time.monotonic() - start, 1)
    return Outcome(room, str(mutant), status, test, seconds)


def _tests(room: Room) -> list[str]:
    paths = [path for pattern in room.tests for path in sorted(ROOT.glob(pattern))]
    return list(dict.fromkeys(path.relative_to(ROOT).as_posix() for path in paths))


def _run_tests(
    tests: list[str], log: Path, limit_s: float, traced: Path | None = None
) -> str:
    """Run tests in a fork with temporary files and fits of its own; say how it ends."""
    with tempfile.TemporaryDirectory(prefix="omnimouse-mutant-") as scratch:
        child = os.fork()
        if child == 0:
            os.setsid()
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            _separate_files(Path(scratch))
            code = _pytest(tests) if traced is None else _traced(tests, traced)
            sys.stdout.flush()
            os._exit(code)
        code = _exit_code(child, limit_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what a failed test has left running
        if code is None:
            os.waitpid(child, 0)
            return "timeout"
    return "survived" if code in (0, NO_TESTS) else "killed"


def _separate_files(scratch: Path) -> None:
    """Share simulated recordings with other runs, but no fit: a mutant may write it."""
    shared, own = ROOT / ".venv" / "omnimouse-cache", scratch / "cache"
    own.mkdir()
    for name in ("sessions", "hub"):
        if (shared / name).exists():
            (own / name).symlink_to(shared / name)
    tempfile.tempdir = str(scratch)
    os.environ |= {"OMNIMOUSE_CACHE": str(own), "TMPDIR": str(scratch)}


def _exit_code(child: int, limit_s: float) -> int | None:
    """Wait for a child process; None where it does not end in time."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        done, wait_status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(wait_status)
        time.sleep(0.02)
    return None


def _traced(tests: list[str], traced: Path) -> int:
    """Run pytest and write which lines of the library it ran."""
    import coverage

    watch = coverage.Coverage(data_file=None, include=["model/*"])
    watch.start()
    code = _pytest(tests)
    watch.stop()
    data = watch.get_data()
    here = Path.cwd()
    lines = {
        Path(path).relative_to(here).as_posix(): data.lines(path)
        for path in data.measured_files()
    }
    traced.write_text(json.dumps(lines))
    return code


def _pytest(tests: list[str]) -> int:
    """Run pytest in this forked process; any end but a green one is a failure."""
    import pytest

    plugins = ["-p", "_hypothesis_pytestplugin", "-p", "jaxtyping._pytest_plugin"]
    options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-m", NOT_SLOW]
    options.append("--jaxtyping-packages=omnimouse_model,beartype.beartype")
    try:
        return int(pytest.main([*plugins, *options, *tests]))
    except BaseException as error:
        print(f"FAILED {error!r}")
        return 1


def _first_failure(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return found[0].split()[1] if found else (lines[-1] if lines else "")


def _report(outcomes: list[Outcome]) -> int:
    """Print the table of rooms and the survivors that are not explained."""
    equivalent = _equivalent()
    print("\n| room | mutants | killed | equivalent | survived | killed of the rest |")
    print("| --- | --- | --- | --- | --- | --- |")
    totals = [0, 0, 0, 0]
    for room in [*ROOMS, "all"]:
        own = [one for one in outcomes if room in (one.room, "all")]
        killed = sum(one.status != "survived" for one in own)
        alike = sum(_key(one) in equivalent for one in own if one.status == "survived")
        totals = [len(own), killed, alike, len(own) - killed - alike]
        share = killed / max(1, len(own) - alike)
        print(f"| {room} | {' | '.join(map(str, totals))} | {share:.0%} |")
    print()
    for one in outcomes:
        if one.status == "survived":
            print(f"- {one.mutant}: {equivalent.get(_key(one), 'NOT EXPLAINED')}")
    return int(totals[1] < 0.9 * (totals[0] - totals[2]))


def _key(outcome: Outcome) -> str:
    """Name a mutant without its line number, which every edit above it changes."""
    place, _, change = outcome.mutant.partition("  ")
    return f"{place.split(':')[0]}: {' '.join(change.split())}"


def _equivalent() -> dict[str, str]:
    path = Path(__file__).with_name("equivalent.toml")
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    sys.exit(main())
