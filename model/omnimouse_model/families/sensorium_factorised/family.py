"""The Sensorium-2023 baseline as a `Family`; imported when a function is called."""

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
    from omnimouse_model.families.parts.clip_models import load_clip_model
    from omnimouse_model.families.sensorium_factorised.network import FACTORISED

    return load_clip_model(FACTORISED, path, device)


def _describe(path: Path) -> Description:
    from omnimouse_model.families.parts.clip_models import ClipCheckpoint
    from omnimouse_model.families.sensorium_factorised.network import FACTORISED

    return ClipCheckpoint.read(FACTORISED, path).description


def _read(tree: Mapping[str, Any]) -> Any:
    from omnimouse_model.families.sensorium_factorised.training import read_factorised_config

    return read_factorised_config(tree)


def _spec(config: Any) -> WindowSpec:
    from omnimouse_model.families.sensorium_factorised.network import FACTORISED

    return FACTORISED.spec(config.model)


def _train(
    config: Any, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> Predictor:
    from omnimouse_model.families.parts.clip_training import start_clips
    from omnimouse_model.families.sensorium_factorised.training import FactorisedTraining

    return start_clips(FactorisedTraining, config, sessions, out, job, seed)


def _export(run: Path, path: Path) -> None:
    from omnimouse_model.families.parts.clip_training import export_clips
    from omnimouse_model.families.sensorium_factorised.network import FACTORISED

    export_clips(FACTORISED, run, path)


FAMILY = Family(
    "sensorium_factorised",
    _load,
    title="Sensorium-2023 baseline",
    summary="Factorised 3D convolutions with a Gaussian readout: predicts responses from video.",
    describe=_describe,
    training=Training(_read, _spec, _train, shipped_configs(Path(__file__).parent / "configs")),
    export=_export,
)
