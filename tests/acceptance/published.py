"""Train each published config of the paper's baselines for two steps, and let it predict.

usage: python -m tests.acceptance.published [CONFIG ...] [--neurons 8000]

The networks have their published sizes; only the clips of a step are fewer, because a step
of the published batches needs a GPU. The recording is two minutes of noise of so many
neurons. Prints parameters, seconds and what is predicted, and exits with 1 if a config
cannot be trained, loaded again or asked.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

import omnimouse_model as om
from omnimouse_model.analysis.fit import run_steps
from omnimouse_model.data.session import Session
from omnimouse_model.inference.families import describe, training_plan
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import CallbackJob

FEWER: dict[str, dict[str, Any]] = {
    "sensorium_factorised": {"clips": 1, "validation_windows": 1},
    "latent_zig": {"clips": 1, "validation_windows": 1},
    "dwiseneuro": {"clips": 2},
    "poyo_calcium": {"batch": 2, "epochs": 1},
    "cebra": {"batch": 64},
    "mtm": {"batch": 4, "epochs": 1},
}
"""Config -> values in place of the published ones, which concern the size of a step alone."""
STEPS = 2


def noise_session(folder: Path, n_neurons: int) -> Session:
    """Write and open a recording of noise: video, behaviour and responses."""
    from tests.model.known_sessions import write_known_session

    draw = np.random.default_rng(1)
    responses = draw.gamma(1.0, 1.0, (120 * 30, n_neurons)).astype(np.float32)
    tiers = ["train", "train", "validation", "final_test_1"]
    return om.open_session(write_known_session(folder / "noise", responses, tiers=tiers))


def trained(config: str, session: Session, out: Path) -> Predictor:
    """Train a config for some steps; return the model, loaded from its file."""
    plan = training_plan(config, {**FEWER[config], "sessions": [], "save_every_s": None})
    losses: list[float] = []
    run_steps(
        plan,
        [session],
        out,
        CallbackJob(),
        STEPS,
        device="cpu",
        on_step=lambda step, row: losses.append(float(row.get("loss", np.nan))),
    )
    if len(losses) < STEPS or not np.isfinite(losses).all():
        raise ValueError(f"losses are {losses}")
    return om.load_predictor(out / "model.safetensors", device="cpu")


def check_answer(predictor: Predictor, session: Session) -> str:
    """Return what a model predicts of a window; raise `ValueError` if that is nothing."""
    spec = predictor.needs.spec
    window = session.window(float(session.window_starts("final_test_1", spec=spec)[-1]), spec)
    if predictor.needs.predicts_responses:
        mask = om.Mask.from_strategy("causal_response_25_behavior", session).at(spec)
        found = predictor.predict(window, mask)
        share = float(np.isfinite(found.responses[found.valid]).mean())
        if not found.valid.any() or not share:
            raise ValueError(f"no response is predicted: {found.status}")
        return f"{found.responses.shape[1]:,} neurons, {int(found.valid.sum())} samples"
    mask = om.Mask.nothing(session, spec).show(slice(None)).with_behavior("target")
    found = predictor.predict(window, mask)
    if found.behavior is None or not np.isfinite(found.behavior).all():
        raise ValueError(f"no behaviour is decoded: {found.status}")
    return f"{found.behavior.shape[1]} channels, {len(found.behavior)} samples"


def main() -> None:
    """Check the named configs, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", metavar="CONFIG", choices=[[], *FEWER])
    parser.add_argument("--neurons", type=int, default=8000)
    arguments = parser.parse_args()
    is_failed = False
    with TemporaryDirectory() as scratch:
        session = noise_session(Path(scratch), arguments.neurons)
        for config in arguments.configs or FEWER:
            out, began = Path(scratch) / config, perf_counter()
            try:
                predictor = trained(config, session, out)
                trained_s = perf_counter() - began
                answer = check_answer(predictor, session)
                parameters = int(describe(out / "model.safetensors")[1].facts["parameters"])
                print(
                    f"{config}: {parameters:,} parameters, {STEPS} steps in {trained_s:.0f} s, "
                    f"predicts {answer}",
                    flush=True,
                )
            except (ValueError, RuntimeError, ModuleNotFoundError) as error:
                is_failed = True
                print(f"{config}: {type(error).__name__}: {error}", flush=True)
    sys.exit(is_failed)


if __name__ == "__main__":
    main()
