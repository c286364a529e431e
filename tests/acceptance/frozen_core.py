"""Compare embeddings on a frozen core with a model that is trained with the mouse.

    python -m tests.acceptance.frozen_core

Prints one line per check, and exits with 1 if a check fails.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.fit import finetune
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.families.omnimouse.batches import Group, Phase, TrainConfig
from omnimouse_model.families.omnimouse.network import OmniMouse, initialise, set_neuron_embeddings
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.omnimouse.training import OmniMouseTraining
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.progress import QUIET
from omnimouse_model.training.loop import train
from omnimouse_model.training.sessions import hold_out
from tests.model.known_sessions import write_known_session
from tests.model.small_net import SMALL

World = tuple[Session, np.ndarray]
"""Recording, and the signs (P,) of its neurons."""
STEPS, TUNED_STEPS = 200, 60
"""Steps of training from scratch, and of fine-tuning."""


def signed_session(folder: Path, key: str, seed: int, minutes: int = 2, neurons: int = 16) -> World:
    """Write a session of Poisson counts that follow one slow factor with either sign.

    It has responses only.
    """
    draw = np.random.default_rng(seed)
    decay = np.exp(-np.arange(90) / 15)
    samples = minutes * 60 * 30
    noise = draw.normal(size=samples + len(decay) - 1)
    factor = np.convolve(noise, decay / np.linalg.norm(decay), "valid")
    signs = draw.permutation(np.where(np.arange(neurons) % 2, 1, -1))
    rates = 4 * np.exp(0.7 * factor[:, None] * signs)
    video = np.zeros((samples, 36, 64), np.uint8)
    write_known_session(folder, draw.poisson(rates), video=video, key=key)
    shutil.rmtree(folder / "screen")
    return open_session(folder), signs


def half_score(predictor: TransformerPredictor, session: Session) -> float:
    """Return the score of predicting half of the neurons from the other half."""
    half = Condition("half", partial(half_population_mask, video=False))
    return evaluate(predictor, session, half, max_windows=30).scores[0].value


def train_model(out: Path, *worlds: World, steps: int) -> TransformerPredictor:
    """Train a model whose neuron embeddings start with the signs."""
    config = TrainConfig(
        seed=1,
        model=SMALL,
        phases=(Phase("all", steps, 8, {"half": 1.0}, warmup=steps // 10, decay=0.5),),
        core=Group(3e-3, 0.1),
        session=Group(3e-3, 0.001),
        sampling="balanced",
        validate_every=steps + 1,
        validation="held-out",
        precision="fp32",
    )

    def fill(net: OmniMouse) -> None:
        initialise(net, torch.Generator().manual_seed(1))
        for session, signs in worlds:
            values = np.repeat(signs[:, None], SMALL.d_embedding, axis=1)
            set_neuron_embeddings(net, session.id, 0.3 * values.astype(np.float32))

    sources = [hold_out(session, 0) for session, _ in worlds]
    animals = {s.id: s.animal_id or s.id for s, _ in worlds}
    course = SimpleNamespace(validation=lambda step: QUIET)
    origin = SimpleNamespace(
        animals=animals, fill=fill, is_trained=lambda name: True, course=course
    )
    net = train(OmniMouseTraining, config, sources, out, origin=origin).eval()
    return TransformerPredictor(net, out.name)


def is_frozen(base: TransformerPredictor, tuned: TransformerPredictor) -> bool:
    """Whether both models have the same weights, apart from those of sessions."""
    state = tuned.net.state_dict()
    return all(
        torch.equal(state[name], value)
        for name, value in base.net.state_dict().items()
        if not name.startswith("sess_params.")
    )


def checks(
    folder: Path, steps: int = STEPS, tuned_steps: int = TUNED_STEPS
) -> Iterator[tuple[str, bool]]:
    """Yield each claim with its numbers, and whether it is true."""
    known, new = (
        signed_session(folder / "a", "1-1-1", 1),
        signed_session(folder / "b", "2-1-1", 2),
    )
    base = train_model(folder / "without", known, steps=steps)
    best = half_score(train_model(folder / "with", known, new, steps=steps), new[0])
    tuned = finetune(base, new[0], folder / "tuned", steps=tuned_steps)
    score = half_score(tuned, new[0])
    yield "fine-tuning does not change the core", is_frozen(base, tuned)
    yield f"training with the mouse learns it: {best:.3f} > 0.5", best > 0.5
    claim = f"embeddings alone reach 95 % of that: {score:.3f} of {best:.3f}"
    yield claim, score >= 0.95 * best


def main() -> int:
    """Print one line per check; return 1 if a check fails."""
    torch.set_num_threads(1)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for claim, holds in checks(Path(folder)):
            failed += not holds
            print(f"{'ok' if holds else 'FAILED'}: {claim}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
