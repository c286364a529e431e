"""Time from a stroke until the whole test tier is scored, without the GUI."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bench.benchmark import row

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller
    from omnimouse_model.live.state import Device

N_STROKES = 3
N_PAINTED = 25
"""Neurons that a stroke paints."""
MAX_SD = 0.02
"""Standard deviation from which the gain over the baseline counts as known."""
TIMEOUT_S = 600.0
POLL_S = 0.005


def tier_rows(folder: Path, device: "Device") -> list[dict[str, Any]]:
    """Return rows of the score over the test tier, and its cost for the next stroke.

    `first_tier_s` includes the encoding of the video of all windows, which strokes use
    again. `scored_stroke_ms` are times from a stroke to the prediction while the tier
    is scored, `unscored_stroke_ms` while scoring is paused. `sweep_to_tier_s` is the
    time from the request of the live sweep until its curves are over the whole tier.
    """
    from omnimouse_model.live.controller import Controller

    controller = Controller()
    controller.model.choose_device(device)
    controller.model.choose("demo")
    controller.model.choose_baseline("linear-gaussian")
    controller.loader.open_now(folder)
    try:
        return _rows(controller)
    finally:
        controller.close()


def _rows(controller: "Controller") -> list[dict[str, Any]]:
    results, session = controller.results, controller.state.session
    assert session is not None
    wait_until(lambda: not results.is_awaited and results.population is not None)
    start_s = perf_counter()
    controller.editor.apply_preset("video_behavior")
    wait_until(lambda: _is_complete(controller))
    first_s = perf_counter() - start_s
    rng = np.random.default_rng(0)
    tier_s, gain_s = [], []
    for _ in range(N_STROKES):
        start_s = perf_counter()
        _paint(controller, rng)
        wait_until(lambda: _is_gain_known(controller) or _is_complete(controller))
        known_s = perf_counter() - start_s
        gain_s.append(known_s if _is_gain_known(controller) else float("nan"))
        wait_until(lambda: _is_complete(controller))
        tier_s.append(perf_counter() - start_s)
    conditions = {"neurons": session.n_neurons, "model": "running"}
    rows = [
        row("first_tier_s", [first_s], "s", **conditions),
        row("stroke_to_tier_s", tier_s, "s", **conditions),
        row("stroke_to_gain_s", gain_s, "s", **conditions),
    ]
    for name, is_scored in (("unscored_stroke_ms", False), ("scored_stroke_ms", True)):
        controller.requests.score_tier(is_scored)
        times_ms = []
        for _ in range(4 * N_STROKES):
            # A pause, in which the next windows are prefetched and scoring goes on.
            sleep(0.3)
            start_s = perf_counter()
            _paint(controller, rng)
            wait_until(lambda: not results.is_awaited)
            times_ms.append(1000 * (perf_counter() - start_s))
        rows.append(row(name, times_ms, "ms", **conditions))
    start_s = perf_counter()
    controller.requests.show_sweep()
    wait_until(lambda: _are_curves_complete(controller))
    times_s = [perf_counter() - start_s]
    return [*rows, row("sweep_to_tier_s", times_s, "s", **conditions)]


def _paint(controller: "Controller", rng: np.random.Generator) -> None:
    """Show some of the target neurons in one stroke."""
    from omnimouse_model.masks import VISIBLE

    mask = controller.state.mask
    assert mask is not None
    targets = np.flatnonzero(mask.target.any(axis=0))
    controller.editor.paint(rng.choice(targets, N_PAINTED, replace=False), VISIBLE)


def wait_until(is_true: Callable[[], bool], poll_s: float = POLL_S) -> None:
    """Wait until a condition is true; raise `TimeoutError` after ten minutes."""
    deadline_s = perf_counter() + TIMEOUT_S
    while not is_true():
        if perf_counter() > deadline_s:
            raise TimeoutError(f"No result within {TIMEOUT_S:z.0f} s.")
        sleep(poll_s)


def _is_complete(controller: "Controller") -> bool:
    """Whether model and baseline have scored all windows of the current mask."""
    found = (controller.results.tier_score, controller.baseline.tier_score)
    if controller.results.error is not None:
        raise RuntimeError(f"The prediction failed: {controller.results.error}")
    return all(
        one is not None and one.is_complete and one.mask is controller.state.mask for one in found
    )


def _are_curves_complete(controller: "Controller") -> bool:
    curves = controller.results.tier_curves
    return curves is not None and curves.is_complete


def _is_gain_known(controller: "Controller") -> bool:
    found, other = controller.results.tier_score, controller.baseline.tier_score
    if found is None or other is None or found.mask is not other.mask:
        return False
    gain, _ = found.gain(other)
    return gain.error <= MAX_SD
