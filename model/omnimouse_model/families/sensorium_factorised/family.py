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
    from omnimouse_model.families.sensorium_factorised.checkpoint import load_factorised

    return load_factorised(path, device)


def _describe(path: Path) -> Description:
    from omnimouse_model.families.sensorium_factorised.checkpoint import FactorisedCheckpoint

    return FactorisedCheckpoint.read(path).description


def _read(tree: Mapping[str, Any]) -> Any:
    from omnimouse_model.families.sensorium_factorised.training_config import read_factorised_config

    return read_factorised_config(tree)


def _spec(config: Any) -> WindowSpec:
    from omnimouse_model.families.sensorium_factorised.predictor import factorised_spec

    return factorised_spec(config.model)


def _train(
    config: Any, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> Predictor:
    from omnimouse_model.families.sensorium_factorised.training import start_factorised

    return start_factorised(config, sessions, out, job, seed)


def _export(run: Path, path: Path) -> None:
    from omnimouse_model.families.sensorium_factorised.training import export_factorised

    export_factorised(run, path)


FAMILY = Family(
    "sensorium_factorised",
    _load,
    title="Sensorium-2023 baseline",
    summary="Factorised 3D convolutions with a Gaussian readout: predicts responses from video.",
    describe=_describe,
    training=Training(_read, _spec, _train, shipped_configs(Path(__file__).parent / "configs")),
    export=_export,
)
