"""OmniMouse as a `Family`; its code is imported when a function is called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
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
from omnimouse_model.training.config import NeuronTransferOptions


def _load(path: Path, device: str) -> Predictor:
    from omnimouse_model.families.omnimouse.loading import load_checkpoint_predictor

    return load_checkpoint_predictor(path, device=device)


def _demo(device: str) -> Predictor:
    from omnimouse_model.families.omnimouse.checkpoint import DEMO

    return _load(DEMO, device)


def _plain_demo(device: str) -> Predictor:
    from omnimouse_model.families.omnimouse.checkpoint import DEMO
    from omnimouse_model.families.omnimouse.loading import load_checkpoint_predictor

    return load_checkpoint_predictor(DEMO, device=device, name="demo-plain", with_context=False)


def _recognises(path: Path) -> bool:
    # Official checkpoints, and those saved before families had names, name none.
    return stated_family(path) in ("", FAMILY.name)


def _describe(path: Path) -> Description:
    from omnimouse_model.families.omnimouse.checkpoint import describe

    return describe(path)


def _read(tree: Mapping[str, Any]) -> Any:
    from omnimouse_model.families.omnimouse.training_config import config_from

    return config_from(tree)


def _spec(config: Any) -> WindowSpec:
    return OMNIMOUSE


def _train(
    config: Any, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> Predictor:
    from omnimouse_model.families.omnimouse.training import start_omnimouse

    return start_omnimouse(config, sessions, out, job, seed)


def _transfer(
    predictor: Predictor, session: Session, options: Any, out: Path, job: Job
) -> Predictor:
    from omnimouse_model.families.omnimouse.transfer import transfer_omnimouse

    return transfer_omnimouse(predictor, session, options, out, job)


def _export(run: Path, path: Path) -> None:
    from omnimouse_model.families.omnimouse.export import export_run

    export_run(run, path)


FAMILY = Family(
    "omnimouse",
    _load,
    title="OmniMouse",
    summary="Masked multi-modal transformer: any neurons, video and behaviour predict the others.",
    names={"demo": _demo, "demo-plain": _plain_demo},
    recognises=_recognises,
    describe=_describe,
    training=Training(_read, _spec, _train, shipped_configs(Path(__file__).parent / "configs")),
    transfer=Transfer(NeuronTransferOptions, _transfer),
    export=_export,
)
