"""Random edits against slow, failing and crashing predictors in a worker process.

python -m tests.soak --edits 20000
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from omnimouse_model.data.open import open_session
from tests.small_sessions import write_session
from tests.soak.edits import N_NEURONS, PREDICTORS, soak


def main() -> int:
    """Run all three, and print a line for each; 1 where one diverged."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edits", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predictor", choices=[*PREDICTORS, "all"], default="all")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    names = list(PREDICTORS) if chosen.predictor == "all" else [chosen.predictor]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(write_session(Path(folder) / "soak", N_NEURONS))
        for name in names:
            try:
                print(soak(name, session, chosen.edits, chosen.seed), flush=True)
            except AssertionError as error:
                failed = True
                print(f"{name}: diverged: {error!r}", flush=True)
                logging.getLogger(__name__).exception("diverged")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
