"""Random edits with slow, failing and crashing predictors in a worker process.

python -m tests.soak --edits 20000
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from omnimouse_model.data.open import open_session
from tests.small_sessions import write_session
from tests.soak.edits import N_NEURONS, soak
from tests.soak.predictors import PREDICTORS


def main() -> int:
    """Run each predictor and print one line for it; return 1 after a wrong result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edits", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predictor", choices=[*PREDICTORS, "all"], default="all")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    names = list(PREDICTORS) if options.predictor == "all" else [options.predictor]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(write_session(Path(folder) / "soak", N_NEURONS))
        for name in names:
            try:
                print(soak(name, session, options.edits, options.seed), flush=True)
            except AssertionError as error:
                failed = True
                print(f"{name}: wrong result: {error!r}", flush=True)
                logging.getLogger(__name__).exception("wrong result")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
