"""`omnimouse bench finetune`: fine-tuning compared with training with the mouse."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    folder_option,
    named_session,
    repeated,
    threads_option,
)
from omnimouse_app.cli.terminal import Progress, interruptible
from tests.bench.benchmark import Row, benchmark

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.families.omnimouse.checkpoint import OmniMouseCheckpoint
    from omnimouse_model.predict.predictor import Predictor
    from omnimouse_model.training.config import Trained

UNSEEN, COMPANION = "unseen", "mouse-1"
MICE = (UNSEEN, COMPANION)
CONDITIONS = (
    "test/video_behavior",
    "half_population_video_behavior",
    "half_population_behavior",
    "test/causal_response_25_behavior",
)
Scores = dict[str, tuple[float, float]]
"""Score and ceiling by condition."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of all runs.

    Attributes
    ----------
    out
        Folder of the runs.
    steps
        Steps of fine-tuning the embeddings; None for the default of `finetune`.
    max_windows
        Maximum number of windows that are scored.
    """

    out: Path
    steps: int | None
    max_windows: int
    device: str


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A model's scores on the test tier, and its card if it was fine-tuned."""

    name: str
    scores: Scores
    card: dict[str, Any] = field(default_factory=dict)


@benchmark(
    "finetune",
    title="Fine-tuned embeddings on the demo's frozen core, test tier",
    columns=(
        *("mouse", "condition", "value", "ceiling", "share", "steps", "minutes"),
        *("beside", "beside_value", "beside_share", "beside_steps"),
        *("beside_minutes", "ratio"),
    ),
)
@repeated(
    *("--mouse", "mice"),
    help="Mouse to which the demo model is fine-tuned.",
    default=MICE,
    show_default=True,
    type=click.Choice(MICE),
)
@folder_option(
    "--out", help="Folder of the runs; runs that it contains continue. [default: the cache]"
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Steps of the embeddings. [default: as finetune]"
)
@click.option("--max-windows", default=95, show_default=True, type=click.IntRange(1))
@threads_option(1)
@device_option
def command(
    mice: tuple[str, ...], out: Path | None, steps: int | None, max_windows: int, device: str
) -> list[Row]:
    """Fine-tune the demo model to simulated mice, and score the test tier.

    The transformer alone is used, without a context part.

    No model was trained on 'unseen': its share of the ceiling is compared with two
    references, the demo model after training all weights on it for as many steps, and
    the demo model on its own mouse. 'mouse-1' is a training mouse of the
    demo model: its weights are removed first, and the reference is the demo model
    itself, which was trained on it.
    """
    from omnimouse_model.storage.write import cache_dir

    out = out or cache_dir() / "bench" / "finetune"
    rows: list[Row] = []
    for mouse in mice:
        measure = _unseen if mouse == UNSEEN else _companion
        with interruptible():
            rows += measure(Settings(out, steps, max_windows, device))
    return rows


def _unseen(settings: Settings) -> list[Row]:
    from omnimouse_model.inference.registry import load_predictor

    demo = load_predictor("demo-plain", device=settings.device)
    new, demo_session = (named_session(name) for name in ("unseen", "demo"))
    tuned = _finetuned(demo, new, settings, UNSEEN)
    all_weights = replace(
        _finetuned(demo, new, settings, f"{UNSEEN}-all", "all"),
        name="all weights trained with the mouse",
    )
    own = ScoredModel("demo, its own mouse", _scores(demo, demo_session, settings))
    return _rows(UNSEEN, tuned, (all_weights, own))


def _companion(settings: Settings) -> list[Row]:
    from omnimouse_model.data.open import open_session
    from omnimouse_model.families.omnimouse import DEMO
    from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
    from omnimouse_model.families.omnimouse.context_part import load_checkpoint_predictor
    from omnimouse_model.inference.registry import load_predictor
    from omnimouse_model.simulate import TRAINING_MICE, write_session
    from omnimouse_model.storage.write import cache_dir

    (spec,) = (spec for spec in TRAINING_MICE if spec.name == COMPANION)
    session = open_session(write_session(spec, cache_dir() / "mice" / spec.name))
    # Without the mouse's own weights, it is new to the model; the core has still been
    # trained with it.
    without = _without_session(read_checkpoint(DEMO), session.id)
    with TemporaryDirectory() as folder:
        path = without.save(Path(folder) / "demo.safetensors")
        base = load_checkpoint_predictor(path, "cpu", name="demo without it")
    tuned = _finetuned(base, session, settings, COMPANION)
    demo = load_predictor("demo-plain", device=settings.device)
    trained = ScoredModel("demo, trained with it", _scores(demo, session, settings))
    return _rows(COMPANION, tuned, (trained,))


def _without_session(checkpoint: "OmniMouseCheckpoint", session: str) -> "OmniMouseCheckpoint":
    """Return a checkpoint without a session.

    Its animal is removed too, unless it has other sessions.
    """
    # Parameters have the names of the released checkpoints: those of a session, and one
    # vector per animal, which its sessions share.
    animals = {k: a for k, a in checkpoint.animals.items() if k != session}
    removed = [f"sess_params.{session}."]
    if checkpoint.animals[session] not in animals.values():
        removed.append(f"animal_params._animal_embeddings.{checkpoint.animals[session]}")
    return replace(
        checkpoint,
        state={k: v for k, v in checkpoint.state.items() if not k.startswith(tuple(removed))},
        sessions={k: n for k, n in checkpoint.sessions.items() if k != session},
        animals=animals,
        context={},
    )


def _finetuned(
    base: "Predictor",
    session: "Session",
    settings: Settings,
    folder: str,
    train: "Trained" = "embeddings",
) -> ScoredModel:
    from omnimouse_model.analysis.fit import finetune
    from omnimouse_model.predict.checkpoint_file import read_about
    from omnimouse_model.progress import CallbackJob
    from omnimouse_model.training.checkpoints import FINISHED

    # Each run has its own folder, so that an interrupted benchmark continues.
    line, out = Progress(), settings.out / folder
    tuned = finetune(
        base,
        session,
        out,
        train=train,
        steps=settings.steps,
        device=settings.device,
        job=CallbackJob(line),
    )
    line.finish()
    card = read_about(out / FINISHED)["card"]["finetuned"]
    return ScoredModel(train, _scores(tuned, session, settings), card)


def _rows(mouse: str, tuned: ScoredModel, references: tuple[ScoredModel, ...]) -> list[Row]:
    rows = []
    for reference in references:
        for condition, (value, ceiling) in tuned.scores.items():
            other, other_ceiling = reference.scores[condition]
            # Shares of the ceiling: scores of different mice are not comparable.
            share, other_share = value / ceiling, other / other_ceiling
            rows.append(
                {
                    "name": "finetuned_score",
                    "mouse": mouse,
                    "condition": condition,
                    "value": value,
                    "unit": "single-trial correlation",
                    "ceiling": ceiling,
                    "share": share,
                    "steps": tuned.card["steps"],
                    "minutes": tuned.card["minutes"],
                    "beside": reference.name,
                    "beside_value": other,
                    "beside_ceiling": other_ceiling,
                    "beside_share": other_share,
                    "beside_steps": reference.card.get("steps"),
                    "beside_minutes": reference.card.get("minutes"),
                    "ratio": share / other_share,
                    "before": tuned.card["before"],
                }
            )
    return rows


def _scores(predictor: "Predictor", session: "Session", settings: Settings) -> Scores:
    """Return score and ceiling on the test tier, by condition."""
    from omnimouse_model.analysis.evaluate import evaluate

    # Four of the demo's conditions, one of each kind, so that a run takes minutes.
    results = evaluate(predictor, session, CONDITIONS, max_windows=settings.max_windows)
    return {s.strategy: (s.value, s.ceiling) for s in results.scores}
