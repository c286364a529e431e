"""`omnimouse bench finetune`: fine-tuning compared with training with the mouse."""

from dataclasses import dataclass, field, replace
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
    from omnimouse_model.train.finetune.run import Trained

UNSEEN, COMPANION = "unseen", "mouse-1"
MICE = (UNSEEN, COMPANION)
STEPS_OF_ALL = 1200
"""Steps of training all weights: the held-out score is best at about 720."""

Scores = dict[str, tuple[float, float]]
"""Score and ceiling by condition."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Folder of the runs, steps of the embeddings, windows to score, and device."""

    out: Path
    steps: int | None
    most: int
    device: str


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's scores on the test tier, and its card if it was fine-tuned."""

    name: str
    scores: Scores
    about: dict[str, Any] = field(default_factory=dict)


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
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Of the embeddings. [default: as finetune]",
)
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
    the demo when every weight is trained with it (1,200 steps, whatever --steps says),
    and that of the demo on its own mouse. 'mouse-1' is one of the demo's: the model
    forgets it, and the scores stand beside those of the demo, which was trained with
    it.
    """
    import torch

    from omnimouse_model.cache import cache_dir

    torch.set_num_threads(threads)
    out = out or cache_dir() / "bench" / "finetune"
    rows: list[dict[str, Any]] = []
    for mouse in mice:
        measure = _unseen if mouse == UNSEEN else _companion
        with interruptible():
            rows += measure(Asked(out, steps, max_windows, device))
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
            "steps",
            "minutes",
            "beside",
            "beside_value",
            "beside_share",
            "beside_steps",
            "beside_minutes",
            "ratio",
        ],
    )


def _unseen(asked: Asked) -> list[dict[str, Any]]:
    from omnimouse_model.predict.omnimouse.loading import load_demo

    demo, progress = load_demo(asked.device), Progress()
    new, shown = (named_session(name, progress) for name in ("unseen", "demo"))
    mine = _finetuned(demo, new, asked, UNSEEN)
    every = replace(
        _finetuned(demo, new, asked, f"{UNSEEN}-all", "all", STEPS_OF_ALL),
        name="all of it trained with the mouse",
    )
    own = Scored("demo, its own mouse", _scores(demo, shown, asked))
    return _rows(UNSEEN, mine, (every, own))


def _companion(asked: Asked) -> list[dict[str, Any]]:
    from omnimouse_model.cache import cache_dir
    from omnimouse_model.data.open import open_session
    from omnimouse_model.demo import CHECKPOINT
    from omnimouse_model.nets.checkpoint_formats import read_checkpoint
    from omnimouse_model.predict.omnimouse.loading import (
        load_demo,
        predictor_from_checkpoint,
    )
    from omnimouse_model.simulate import TRAINING_MICE, write_session
    from omnimouse_model.train.export.checkpoint import forgotten

    (spec,) = (spec for spec in TRAINING_MICE if spec.name == COMPANION)
    session = open_session(write_session(spec, cache_dir() / "mice" / spec.name))
    # Remove the mouse's own weights, so that it is new to the model; the core has still
    # been trained with it.
    without = forgotten(read_checkpoint(CHECKPOINT), session.id)
    base = predictor_from_checkpoint(without, "demo without it", "cpu")
    mine = _finetuned(base, session, asked, COMPANION)
    demo = load_demo(asked.device)
    own = Scored("demo, trained with it", _scores(demo, session, asked))
    return _rows(COMPANION, mine, (own,))


def _finetuned(
    base: "Predictor",
    session: "Session",
    asked: Asked,
    folder: str,
    train: "Trained" = "embeddings",
    steps: int | None = None,
) -> Scored:
    from omnimouse_model.nets.checkpoint import FINISHED, read_card
    from omnimouse_model.train.finetune.run import finetune

    report, out = Report(Progress()), asked.out / folder
    mine = finetune(
        base,
        session,
        out,
        train=train,
        steps=steps or asked.steps,
        device=asked.device,
        progress=report,
    )
    report.finish()
    about = read_card(out / FINISHED)["finetuned"]
    return Scored(train, _scores(mine, session, asked), about)


def _rows(mouse: str, mine: Scored, others: tuple[Scored, ...]) -> list[dict[str, Any]]:
    rows = []
    for beside in others:
        for condition, (value, ceiling) in mine.scores.items():
            known, known_ceiling = beside.scores[condition]
            # Shares of the ceiling: scores of different mice are not comparable.
            share, beside_share = value / ceiling, known / known_ceiling
            rows.append(
                {
                    "name": "finetuned_score",
                    "mouse": mouse,
                    "condition": condition,
                    "value": value,
                    "unit": "single-trial correlation",
                    "ceiling": ceiling,
                    "share": share,
                    "steps": mine.about["steps"],
                    "minutes": mine.about["minutes"],
                    "beside": beside.name,
                    "beside_value": known,
                    "beside_ceiling": known_ceiling,
                    "beside_share": beside_share,
                    "beside_steps": beside.about.get("steps"),
                    "beside_minutes": beside.about.get("minutes"),
                    "ratio": share / beside_share,
                    "before": mine.about["before"],
                }
            )
    return rows


def _scores(predictor: "Predictor", session: "Session", asked: Asked) -> Scores:
    """Return score and ceiling on the test tier, by condition."""
    from omnimouse_model.analysis.evaluate.conditions import DEMO
    from omnimouse_model.analysis.evaluate.evaluate import evaluate

    conditions = [c for c in DEMO if c.name in CONDITIONS]
    found = evaluate(predictor, session, conditions, max_windows=asked.most)
    return {s.strategy: (s.value, s.ceiling) for s in found.scores}


CONDITIONS = (
    "test/video_behavior",
    "half_population_video_behavior",
    "half_population_behavior",
    "test/causal_response_25_behavior",
)
