"""Ctrl-C at many moments of commands, also during their imports.

    python -m tests.acceptance.interrupts [--moments 20]

Prints one line per command. Exits with 1 if a command hangs, prints a traceback, or
ends neither as stopped (130, or by the signal) nor as finished (0).
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time

COMMANDS = (
    "info demo",
    "evaluate --model mean --session demo --no-baselines",
    "sweep --model last --session demo --history 10",
    "convert demo {folder}/demo.zarr",
    "simulate {folder}/mice",
    "train smoke --out {folder}/run",
)
BEGIN_S = 0.1
"""Before this, the interpreter itself starts, and reports interrupts in its own way."""
TIMEOUT_S = 60.0


def interrupt(words: list[str], delay_s: float) -> str:
    """Return what was wrong after Ctrl-C at a moment, "" if nothing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "omnimouse_app", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"hangs after Ctrl-C at {delay_s:.2f} s"
    if "Traceback" in errors:
        return f"traceback after Ctrl-C at {delay_s:.2f} s: {errors.strip()[-200:]}"
    # An interrupt of generated code, as of dataclasses, ends Python by the signal.
    if process.returncode not in (0, 130, -signal.SIGINT):
        lines = errors.strip().splitlines()[-1:]
        return f"status {process.returncode} after Ctrl-C at {delay_s:.2f} s: {lines}"
    return ""


def main() -> int:
    """Interrupt each command at random moments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, n_faults = random.Random(options.seed), 0
    for command in COMMANDS:
        faults = []
        for _ in range(options.moments):
            with tempfile.TemporaryDirectory() as folder:
                # Half of the moments are in the first second, with the imports.
                longest_s = generator.choice((1.0, 6.0))
                delay_s = generator.uniform(BEGIN_S, longest_s)
                words = command.format(folder=folder).split()
                if fault := interrupt(words, delay_s):
                    faults.append(fault)
        n_faults += len(faults)
        print(
            f"{command}: {options.moments} interrupts, {len(faults)} faults", flush=True
        )
        for fault in faults:
            print(f"    {fault}")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
