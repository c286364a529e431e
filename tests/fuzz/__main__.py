"""Damage valid recordings with a seed, and read them in child processes.

    python -m tests.fuzz --mutations 10000

Prints the outcomes by kind, and each fault with the seed that repeats it
(`--kind KIND --seed SEED`). Exits non-zero if there is a fault.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.fuzz.attempt import attempt, attempts, bound_memory
from tests.fuzz.kinds import KINDS

CHUNK = 50


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--mutations", type=int, default=10_000, help="total number")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append")
    parser.add_argument("--seed", type=int, help="run this seed and print the damage")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    kinds = options.kind or sorted(KINDS)
    if options.seed is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(*attempt(kinds[0], options.seed, Path(folder)), sep="\n-> ")
        return 0
    start = time.perf_counter()
    each = -(-options.mutations // len(kinds))
    totals = {kind: Counter[str]() for kind in kinds}
    faults: list[str] = []
    with ProcessPoolExecutor(
        options.processes, multiprocessing.get_context("spawn"), bound_memory
    ) as pool:
        jobs = [
            (kind, pool.submit(attempts, kind, range(low, min(low + CHUNK, each))))
            for low in range(0, each, CHUNK)
            for kind in kinds
        ]
        for kind, future in jobs:
            outcomes, new_faults = future.result()
            totals[kind] += outcomes
            faults += new_faults
            for fault in new_faults:
                print("FAULT", fault, flush=True)
    _print_table(totals)
    print(f"{time.perf_counter() - start:.0f} s, {len(faults)} faults")
    return 1 if faults else 0


def _print_table(totals: dict[str, Counter[str]]) -> None:
    print("| kind | mutations | read | refused, typed | faults | refusals by code |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for kind, outcomes in totals.items():
        total = sum(outcomes.values())
        read, bad = outcomes["session"], outcomes["FAULT"]
        codes = {k: v for k, v in outcomes.items() if k not in ("session", "FAULT")}
        most = sorted(codes.items(), key=lambda item: -item[1])
        by_code = ", ".join(f"{code} {count}" for code, count in most)
        refused = sum(codes.values())
        print(f"| {kind} | {total} | {read} | {refused} | {bad} | {by_code} |")


if __name__ == "__main__":
    sys.exit(main())
