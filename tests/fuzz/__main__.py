"""Damage valid files with a seed, and read each in a process of its own.

    python -m tests.fuzz --cases 10000 [--seed S] [--kind KIND]

Covers recordings of every format, archives, masks, analyses, configs, plans, results,
predictions, ensembles, checkpoints, unfinished work, cached scores and laboratory results.
Prints the outcomes by kind, and each fault with
the seed that repeats it (`--kind KIND --seed SEED --cases 1`). Exits non-zero if there
is a fault.
"""

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.attempt import attempts
from tests.fuzz.kinds import KINDS
from tests.fuzz.process import case_servers

CHUNK = 50
WHOLE = ("session", "read")
"""Outcomes of a file that is read."""


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=10_000, help="total number")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append")
    parser.add_argument("--seed", type=int, default=0, help="first seed of each kind")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    kinds = options.kind or sorted(KINDS)
    start = time.perf_counter()
    each = -(-options.cases // len(kinds))
    first, last = options.seed, options.seed + each
    totals = {kind: Counter[str]() for kind in kinds}
    faults: list[str] = []
    with case_servers(options.processes) as pool:
        jobs = [
            (kind, pool.submit(attempts, kind, range(low, min(low + CHUNK, last))))
            for low in range(first, last, CHUNK)
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
    print("| kind | cases | read | refused, typed | faults | refusals by code |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for kind, outcomes in totals.items():
        total = sum(outcomes.values())
        read, bad = outcomes["session"] + outcomes["read"], outcomes["FAULT"]
        codes = {k: v for k, v in outcomes.items() if k not in (*WHOLE, "FAULT")}
        most = sorted(codes.items(), key=lambda item: -item[1])
        by_code = ", ".join(f"{code} {count}" for code, count in most)
        refused = sum(codes.values())
        print(f"| {kind} | {total} | {read} | {refused} | {bad} | {by_code} |")


if __name__ == "__main__":
    sys.exit(main())
