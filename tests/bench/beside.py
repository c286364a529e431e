"""`omnimouse bench beside`: `om.evaluate` alone, and beside scores in the background."""

from collections.abc import Callable
from time import perf_counter, sleep

import click

import omnimouse_app as om
from omnimouse_model.live.controller import Controller
from tests.bench.benchmark import Row, benchmark

LIMIT = 2.0
"""Times as long as alone."""


@benchmark(
    "beside",
    title="Evaluation of {windows} windows, alone and beside an open Explorer",
    columns=("name", "value", "unit", "limit", "is_within"),
)
@click.option("--windows", type=click.IntRange(min=2), default=8, show_default=True)
@click.option("--task", default="video_behavior", show_default=True)
def command(windows: int, task: str) -> list[Row]:
    """Time an evaluation while the Explorer refines the score of another mask."""
    session = om.open_session("demo")
    predictor = om.load_predictor("demo")

    def evaluate_s() -> float:
        since = perf_counter()
        om.evaluate(predictor, session, task, max_windows=windows)
        return perf_counter() - since

    evaluate_s()  # the first one reads the recording
    alone_s = evaluate_s()
    # An Explorer and a window are views of this controller. Nothing is known of the mask,
    # so that the background has work for minutes.
    controller = Controller()
    controller.model.choose("demo")
    controller.model.choose_baseline("linear-gaussian")
    controller.loader.open_now(session)
    mask = om.Mask.nothing(session).with_frames(True)
    mask = mask.show(range(300)).ask(range(300, 1000), slice(30, 60))
    controller.editor.set_mask(mask)

    def n_scored() -> int:
        found = controller.results.tier_score
        return 0 if found is None else found.n_windows

    _wait_for(lambda: n_scored() > 0)
    n_before = n_scored()
    beside_s = evaluate_s()
    n_during = n_scored() - n_before
    # It goes on after the call.
    _wait_for(lambda: n_scored() > n_before + n_during)
    controller.close()
    return [
        {"name": "alone_s", "value": alone_s, "unit": "s", "windows": windows},
        {"name": "beside_s", "value": beside_s, "unit": "s", "scored_windows": n_during},
        {
            "name": "ratio",
            "value": beside_s / alone_s,
            "unit": "",
            "limit": LIMIT,
            "is_within": beside_s <= LIMIT * alone_s,
        },
    ]


def _wait_for(condition: Callable[[], bool]) -> None:
    """Wait for at most ten minutes.

    Raises
    ------
    click.ClickException
        The background does not score.
    """
    end_s = perf_counter() + 600
    while not condition():
        if perf_counter() > end_s:
            raise click.ClickException("The score in the background does not go on.")
        sleep(0.05)
