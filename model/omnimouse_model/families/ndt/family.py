"""Neural data transformers as a `Family`; imported when a function is called."""

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
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job
from omnimouse_model.training.config import TransferOptions


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.ndt.predictor import load_ndt

    return load_ndt(path, device)


def _demo(device: str) -> Predictor:
    from omnimouse_model.families.ndt.checkpoint import NDT_CHECKPOINT

    return _load(NDT_CHECKPOINT, device)


def _describe(path: Path) -> Description:
    from omnimouse_model.families.ndt.predictor import describe_ndt

    return describe_ndt(path)


def _read(tree: Mapping[str, Any]) -> Any:
    from omnimouse_model.families.ndt.training_config import read_ndt_config

    return read_ndt_config(tree)


def _spec(config: Any) -> WindowSpec:
    spec: WindowSpec = config.spec
    return spec


def _train(
    config: Any, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> Predictor:
    from omnimouse_model.families.ndt.training import start_ndt

    return start_ndt(config, sessions, out, job, seed)


def _transfer(
    predictor: Predictor, session: Session, options: Any, out: Path, job: Job
) -> Predictor:
    from omnimouse_model.families.ndt.transfer import transfer_ndt

    return transfer_ndt(predictor, session, options, out, job)


def _export(run: Path, path: Path) -> None:
    from omnimouse_model.families.ndt.training import export_ndt

    export_ndt(run, path)


FAMILY = Family(
    "ndt",
    _load,
    title="Neural data transformer",
    summary="Transformer of binned spikes, trained on masked neurons, bins and regions.",
    names={"ndt-demo": _demo},
    describe=_describe,
    training=Training(_read, _spec, _train, shipped_configs(Path(__file__).parent / "configs")),
    transfer=Transfer(TransferOptions, _transfer),
    export=_export,
)
