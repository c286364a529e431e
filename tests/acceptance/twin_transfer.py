"""Transfer of the demo twin to the unseen mouse, beside a twin of that mouse alone.

usage: python -m tests.acceptance.twin_transfer [FOLDER]

Trains, with the recorded responses of the unseen mouse: a twin from random weights with
the whole train tier; and twins on the frozen core of the demo twin, with a tenth and
with all of the frames. Prints their scores on the test tier. Takes about half an hour
on two cores; a stopped run continues in FOLDER.
"""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.families.twin.predictor import TwinPredictor
from omnimouse_model.families.twin.training import FROZEN, TwinTraining
from omnimouse_model.inference.families import training_plan
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.progress import QUIET
from omnimouse_model.simulate.demo import unseen_session
from omnimouse_model.training.loop import train
from omnimouse_model.training.sessions import TrainingSession, training_session

STEPS_ALONE, STEPS_TRANSFER = 900, 300
SHARE = 0.1


def score(path: Path, session: Session) -> float:
    """Return the correlation over the test tier, from video and behaviour."""
    found = evaluate(TwinPredictor.load(path, "cpu"), session, "test/video_behavior", job=QUIET)
    return float(found.scores[0].value)


def part_of(source: TrainingSession, share: float) -> TrainingSession:
    """Return the first share of the train windows."""
    return replace(source, starts=source.starts[: int(share * len(source.starts))])


def main(folder: Path) -> int:
    """Print one line per twin."""
    session = open_session(unseen_session())
    source = training_session(session)
    demo = load_predictor("twin-demo", device="cpu")
    assert isinstance(demo, TwinPredictor)
    assert demo.checkpoint is not None
    config = replace(
        training_plan("twin-demo").config,
        targets="responses",
        cycle_epochs=STEPS_ALONE,
        epoch_steps=1,
        warmup_epochs=30,
        validate_every=10**6,
    )
    alone = folder / "alone"
    train(TwinTraining, config, [source], alone)
    expected = score(alone / "model.safetensors", session)
    print(f"alone, all frames: {expected:.3f}", flush=True)
    for share in (SHARE, 1.0):
        out = folder / f"transfer-{share:g}"
        train(
            TwinTraining,
            replace(config, cycle_epochs=STEPS_TRANSFER, frozen=FROZEN),
            [part_of(source, share)],
            out,
            origin=demo.checkpoint(),
        )
        found = score(out / "model.safetensors", session)
        print(
            f"transfer, {share:.0%} of the frames: {found:.3f} "
            f"({found / expected:.0%} of the twin alone)",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else mkdtemp())))
