"""`omnimouse bench finetune`: how near fine-tuning comes to training with the mouse."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.finetune import Report
from omnimouse_app.cli.inputs import device_option, format_options, named_session
from omnimouse_app.cli.output import Progress, emit
from omnimouse_app.cli.stopping import interruptible

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor
    from omnimouse_model.train.finetune import Trained

UNSEEN, COMPANION = "unseen", "mouse-1"
MICE = (UNSEEN, COMPANION)
STEPS_OF_ALL = 1200
"""Of the model that is trained with the unseen mouse: its held-out score rises no more.
"""

Scores = dict[str, tuple[float, float]]
"""Condition -> score and ceiling."""


@click.command("finetune")
@click.option(
    "--mouse",
    "mice",
    multiple=True,
    default=MICE,
    show_default=True,
    type=click.Choice(MICE),
    help="Whom to fine-tune the demo to; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the runs; those that are there go on. [default: the cache]",
)
@click.option("--steps", type=click.IntRange(min=1), help="[default: as finetune]")
@click.option("--max-windows", default=95, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@device_option
@format_options
def command(
    mice: tuple[str, ...],
    out: Path | None,
    steps: int | None,
    max_windows: int,
    threads: int,
    device: str,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Fine-tune the demo to simulated mice, and score the test tier.

    'unseen' no model was trained on: its share of the ceiling stands beside that of
    the demo when every weight is trained with it (ten minutes more, or twenty), and
    that of the demo on its own mouse. 'mouse-1' is one of the demo's: the model forgets
    it, and the scores stand beside those of the demo, which was trained with it.
    """
    import torch

    from omnimouse_model.cache import cache_dir

    torch.set_num_threads(threads)
    out = out or cache_dir() / "bench" / "finetune"
    rows: list[dict[str, Any]] = []
    for mouse in mice:
        measure = _unseen if mouse == UNSEEN else _companion
        with interruptible():
            rows += measure(out / mouse, steps, max_windows, device)
    emit(
        rows,
        as_json=as_json,
        as_markdown=as_markdown,
        title="Fine-tuned embeddings on the demo's frozen core, test tier",
        columns=[
            "mouse",
            "condition",
            "value",
            "ceiling",
            "share",
            "beside",
            "beside_share",
            "ratio",
            "steps",
            "minutes",
        ],
    )


def _unseen(
    out: Path, steps: int | None, most: int, device: str
) -> list[dict[str, Any]]:
    from omnimouse_model.predict.loading import load_demo

    demo, progress = load_demo(device), Progress()
    new, shown = (named_session(name, progress) for name in ("unseen", "demo"))
    folder = out.with_name(f"{out.name}-all")
    every = _finetuned(demo, new, folder, "all", STEPS_OF_ALL, device)
    beside = {
        "all of it trained with the mouse": _scores(every, new, most),
        "demo, its own mouse": _scores(demo, shown, most),
    }
    return _rows(UNSEEN, demo, new, beside, out, steps, most, device)


def _companion(
    out: Path, steps: int | None, most: int, device: str
) -> list[dict[str, Any]]:
    from omnimouse_model.cache import cache_dir
    from omnimouse_model.data.open import open_session
    from omnimouse_model.demo import CHECKPOINT
    from omnimouse_model.nets.checkpoint import read_checkpoint
    from omnimouse_model.predict.loading import load_demo, predictor_from_checkpoint
    from omnimouse_model.simulate import TRAINING_MICE, write_session
    from omnimouse_model.train.export import forgotten

    (spec,) = (spec for spec in TRAINING_MICE if spec.name == COMPANION)
    session = open_session(write_session(spec, cache_dir() / "mice" / spec.name))
    without = forgotten(read_checkpoint(CHECKPOINT), session.id)
    base = predictor_from_checkpoint(without, "demo without it", "cpu")
    beside = {"demo, trained with it": _scores(load_demo(device), session, most)}
    return _rows(COMPANION, base, session, beside, out, steps, most, device)


def _rows(
    mouse: str,
    base: "Predictor",
    session: "Session",
    beside: dict[str, Scores],
    out: Path,
    steps: int | None,
    most: int,
    device: str,
) -> list[dict[str, Any]]:
    from omnimouse_model.nets.checkpoint import FINISHED, read_card

    mine = _finetuned(base, session, out, "embeddings", steps, device)
    about = read_card(out / FINISHED)["finetuned"]
    found = _scores(mine, session, most)
    rows = []
    for name, known in beside.items():
        for condition, (value, ceiling) in found.items():
            known_value, known_ceiling = known[condition]
            share, beside_share = value / ceiling, known_value / known_ceiling
            rows.append(
                {
                    "name": "finetuned_score",
                    "mouse": mouse,
                    "condition": condition,
                    "value": value,
                    "unit": "single-trial correlation",
                    "ceiling": ceiling,
                    "share": share,
                    "beside": f"{name}: {known_value:.4g}",
                    "beside_share": beside_share,
                    "ratio": share / beside_share,
                    "steps": about["steps"],
                    "minutes": about["minutes"],
                    "before": about["before"],
                }
            )
    return rows


def _finetuned(
    base: "Predictor",
    session: "Session",
    out: Path,
    train: "Trained",
    steps: int | None,
    device: str,
) -> "Predictor":
    from omnimouse_model.train.finetune import finetune

    report = Report(Progress())
    mine = finetune(
        base, session, out, train=train, steps=steps, device=device, progress=report
    )
    report.finish()
    return mine


def _scores(predictor: "Predictor", session: "Session", most: int) -> Scores:
    """Condition -> score and ceiling, on the test tier."""
    from omnimouse_model.analysis.conditions import DEMO
    from omnimouse_model.analysis.evaluate import evaluate

    asked = [c for c in DEMO if c.name in CONDITIONS]
    found = evaluate(predictor, session, asked, max_windows=most)
    return {s.strategy: (s.value, s.ceiling) for s in found.scores}


CONDITIONS = (
    "test/video_behavior",
    "half_population_video_behavior",
    "half_population_behavior",
    "test/causal_response_25_behavior",
)
