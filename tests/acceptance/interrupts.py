"""Ctrl-C at many moments of commands, also during their imports, once and twice.

    python -m tests.acceptance.interrupts [--moments 20] [--only WORDS]
        [--longest 6]

The signal reaches all processes of a command, as from a terminal. Prints one line per
command. Exits with 1 if a command hangs, prints a traceback or more than its own lines,
or ends neither as stopped (130, or by the signal) nor as finished (0).
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import omnimouse_model as om
from omnimouse_model.live.analysis_file import Analysis, write_analysis

COMMANDS = (
    "info demo",
    "convert demo {folder}/demo.zarr",
    "fetch hf://lab/none --to {folder}",
    "evaluate --model mean --session demo --no-baselines",
    "predict demo --model mean --mask test/video_behavior --out {folder}/mean.zarr",
    "sweep --model last --session demo --history 10",
    "sweep --model mean --session demo --history 10 --scheduler local:2",
    "scaling {folder}/runs.jsonl --train simulated --mice {folder}/mice",
    "rank smoke --sessions {mouse} --heldout {mouse} --task test/video_behavior"
    " --results {folder}/a.ranking.jsonl",
    "lab fields",
    "report {analysis}",
    "simulate {folder}/mice",
    "train smoke --out {folder}/run",
    "finetune demo unseen --out {folder}/fine.safetensors",
    "demo --headless {folder}/pictures",
    "doctor",
)
TIMEOUT_S = 60.0
MOST_LINES = 3
"""Lines of a command that stops: what goes on, what is kept, how to continue."""
NOWHERE = "http://127.0.0.1:9"
"""Address of a hub that does not answer."""


def interrupt(words: list[str], delay_s: float, again_s: float | None = None) -> str:
    """Return what was wrong after one or two Ctrl-C, "" if nothing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "omnimouse_app", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_ENDPOINT": NOWHERE},
        start_new_session=True,
    )
    for pause_s in (delay_s, again_s):
        if pause_s is not None:
            time.sleep(pause_s)
            os.killpg(process.pid, signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"hangs after Ctrl-C at {delay_s:.2f} s"
    if "Traceback" in errors:
        return f"traceback after Ctrl-C at {delay_s:.2f} s: {errors.strip()[-200:]}"
    lines = errors.strip().splitlines()
    # The hub that does not answer ends a command with status 1.
    ends = (0, 1, 130, -signal.SIGINT) if "fetch" in words else (0, 130, -signal.SIGINT)
    # An interrupt of generated code, as of dataclasses, ends Python by the signal.
    if process.returncode not in ends:
        return f"status {process.returncode} after Ctrl-C at {delay_s:.2f} s: {lines[-1:]}"
    if len(lines) > MOST_LINES:
        return f"{len(lines)} lines after Ctrl-C at {delay_s:.2f} s: {lines[-1:]}"
    return ""


def _begin_s() -> float:
    """Return the time (s) after which a command itself handles an interrupt.

    Before that, the interpreter itself starts, and reports them in its own way.
    """
    began = time.perf_counter()
    subprocess.check_call([sys.executable, "-c", "import omnimouse_app.sigint"])
    return 2 * (time.perf_counter() - began)


def main() -> int:
    """Interrupt each command at random moments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands that begin with this")
    parser.add_argument("--longest", type=float, default=6.0, help="latest second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as inputs:
        return _interrupt_all(options, _write_inputs(Path(inputs)))


def _write_inputs(folder: Path) -> dict[str, str]:
    """Write the files that commands read; return their places by name."""
    session = om.open_session(om.demo_session())
    mask = om.Mask.from_strategy("test/video_behavior", session)
    analysis = folder / "a.omnimouse.json"
    write_analysis(analysis, Analysis(str(session.path), predictor="mean", mask=mask))
    return {"mouse": str(session.path), "analysis": str(analysis)}


def _interrupt_all(options: argparse.Namespace, inputs: dict[str, str]) -> int:
    generator, n_faults = random.Random(options.seed), 0
    for command in COMMANDS:
        if not command.startswith(options.only):
            continue
        faults = []
        for moment in range(options.moments):
            with tempfile.TemporaryDirectory() as folder:
                # Half of the moments are in the first second, with the imports, and
                # half of them are followed by a second one.
                longest_s = (1.0, options.longest)[moment % 2]
                begin_s = _begin_s()
                delay_s = begin_s + generator.random() * max(longest_s - begin_s, 0.0)
                again_s = generator.uniform(0.0, 0.5) if moment % 4 < 2 else None
                words = command.format(folder=folder, **inputs).split()
                if fault := interrupt(words, delay_s, again_s):
                    faults.append(fault)
        n_faults += len(faults)
        print(f"{command}: {options.moments} interrupts, {len(faults)} faults", flush=True)
        for fault in faults:
            print(f"    {fault}")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
