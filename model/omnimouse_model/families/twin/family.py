"""The digital twin as a `Family`; its code is imported when a function is called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.predict.family import (
    Description,
    Family,
    Training,
    Transfer,
    shipped_configs,
    stated_family,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job
from omnimouse_model.training.config import TransferOptions

RELEASED = "params_core.pt"
"""File by which a folder of released digital twins is recognised."""


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.twin.predictor import load_twin

    return load_twin(path, device)


def _demo(device: str) -> Predictor:
    from omnimouse_model.families.twin.checkpoint import TWIN_CHECKPOINT
    from omnimouse_model.families.twin.predictor import load_twin

    return load_twin(TWIN_CHECKPOINT, device, "twin-demo")


def _recognises(path: Path) -> bool:
    return (path / RELEASED).is_file() or stated_family(path) == FAMILY.name


def _describe(path: Path) -> Description:
    from omnimouse_model.families.twin.predictor import describe_twin

    return describe_twin(path)


def _read(tree: Mapping[str, Any]) -> Any:
    from omnimouse_model.families.twin.training_config import read_twin_config

    return read_twin_config(tree)


def _spec(config: Any) -> WindowSpec:
    from omnimouse_model.families.twin.predictor import twin_spec

    return twin_spec(*config.frame_size)


def _train(
    config: Any, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> Predictor:
    from omnimouse_model.families.twin.training import start_twins

    return start_twins(config, sessions, out, job, seed)


def _transfer(
    predictor: Predictor, session: Session, options: Any, out: Path, job: Job
) -> Predictor:
    from omnimouse_model.families.twin.transfer import transfer_twin

    return transfer_twin(predictor, session, options, out, job)


def _export(run: Path, path: Path) -> None:
    from omnimouse_model.families.twin.training import export_twins

    export_twins(run, path)


FAMILY = Family(
    "twin",
    _load,
    title="Digital twin",
    summary="Convolutional network with gaze and behaviour: predicts responses from video.",
    names={"twin-demo": _demo},
    recognises=_recognises,
    describe=_describe,
    training=Training(_read, _spec, _train, shipped_configs(Path(__file__).parent / "configs")),
    transfer=Transfer(TransferOptions, _transfer),
    export=_export,
)
