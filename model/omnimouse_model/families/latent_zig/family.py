"""The latent zero-inflated gamma model as a `Family`; imported when a function is called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.predict.family import (
    Description,
    Family,
    Training,
    shipped_configs,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.latent_zig.network import LATENT_ZIG
    from omnimouse_model.families.parts.clip_models import load_clip_model

    return load_clip_model(LATENT_ZIG, path, device)


def _describe(path: Path) -> Description:
    from omnimouse_model.families.latent_zig.network import LATENT_ZIG
    from omnimouse_model.families.parts.clip_models import ClipCheckpoint

    return ClipCheckpoint.read(LATENT_ZIG, path).description


def _read(tree: Mapping[str, Any]) -> Any:
    from omnimouse_model.families.latent_zig.training import read_zig_config

    return read_zig_config(tree)


def _spec(config: Any) -> WindowSpec:
    from omnimouse_model.families.latent_zig.network import LATENT_ZIG

    return LATENT_ZIG.spec(config.model)


def _train(
    config: Any, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> Predictor:
    from omnimouse_model.families.latent_zig.training import ZigTraining
    from omnimouse_model.families.parts.clip_training import start_clips

    return start_clips(ZigTraining, config, sessions, out, job, seed)


def _export(run: Path, path: Path) -> None:
    from omnimouse_model.families.latent_zig.network import LATENT_ZIG
    from omnimouse_model.families.parts.clip_training import export_clips

    export_clips(LATENT_ZIG, run, path)


FAMILY = Family(
    "latent_zig",
    _load,
    title="Latent ZIG model",
    summary="A distribution of responses from video and latents that neurons share.",
    describe=_describe,
    training=Training(_read, _spec, _train, shipped_configs(Path(__file__).parent / "configs")),
    export=_export,
)
