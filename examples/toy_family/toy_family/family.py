"""What OmniMouse Studio knows of the family; menus import this file, not the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import omnimouse_model as om
from omnimouse_model.errors import MaskError
from omnimouse_model.families import Description, Family, Job, Preset, Training, Transfer
from omnimouse_model.masks import register_attachment
from omnimouse_model.masks.attachment import Remark

NAME = "toy"
SPEC = om.WindowSpec(duration_s=2.0, response_rate_hz=30.0)
"""Windows that the models read: responses alone, two seconds at 30 Hz."""


@dataclass(frozen=True, slots=True)
class Config:
    """Fields of a training config, beside those that all families share."""

    steps: int = 200
    rate: float = 0.05

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.rate > 0:
            raise ValueError(f"steps {self.steps} and rate {self.rate} must be positive")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a fine-tuning; forms and commands show the help."""

    steps: int = field(default=50, metadata={"help": "Steps of gradient descent"})
    rate: float = field(default=0.05, metadata={"help": "Learning rate"})
    seed: int = field(default=0, metadata={"help": "Of the order of the windows"})


@dataclass(frozen=True, slots=True)
class Muted:
    """What masks of the family hold: neurons that the model does not read (an attachment)."""

    neurons: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Name of the family."""
        return NAME

    def to_json(self) -> dict[str, Any]:
        """Return the values of which `_decode` makes an equal attachment."""
        return {"neurons": list(self.neurons)}

    def after_edit(self, cells: np.ndarray) -> "Muted":
        """Return the same: painting changes no muted neuron."""
        return self

    def read_cells(self, visible: np.ndarray) -> np.ndarray:
        """Return the visible cells without muted neurons."""
        read = visible.copy()
        read[:, list(self.neurons)] = False
        return read

    def predicted_cells(self, target: np.ndarray) -> np.ndarray:
        """Return all targets; `MaskError` for a mask of too few neurons."""
        if max(self.neurons, default=-1) >= target.shape[1]:
            raise MaskError(f"There is no neuron {max(self.neurons)} to mute.")
        return target

    def remarks(self, mask: om.Mask) -> Sequence[Remark]:
        """Say which visible cells are not read."""
        unread = mask.visible & ~self.read_cells(mask.visible)
        return Remark.on_cells("muted", unread, "are not read: their neurons are muted")


def _decode(values: Mapping[str, Any], spec: om.WindowSpec, n_neurons: int) -> Muted:
    return Muted(tuple(int(neuron) for neuron in values.get("neurons", ())))


register_attachment(NAME, _decode, SPEC)


def _load(path: Path, device: str) -> om.Predictor:
    from toy_family.model import load

    return load(path)


def _describe(path: Path) -> Description:
    from toy_family.model import load

    toy = load(path)
    facts = {"parameters": toy.n_parameters, "weight of the population": toy.weight}
    return Description("Shared gains", toy.needs.n_neurons, facts)


def _presets(session: om.Session) -> Sequence[Preset]:
    if session.n_neurons < 2:
        return [Preset("every second neuron", None, "The recording has one neuron.")]
    mask = om.Mask.nothing(session, SPEC)
    mask = mask.show(range(0, session.n_neurons, 2)).ask(range(1, session.n_neurons, 2))
    muted = mask.with_attachment(neurons=(0,))
    return [Preset("every second neuron", mask), Preset("the first neuron muted", muted)]


def _read(tree: Mapping[str, Any]) -> Config:
    try:
        return Config(**tree)
    except TypeError as error:  # a field that is not one of the config
        raise ValueError(str(error)) from error


def _train(
    config: Config, sessions: Sequence[om.Session], out: Path, job: Job, seed: int = 0
) -> om.Predictor:
    from toy_family.model import train

    return train(config, sessions, out, job, seed)


def _transfer(
    predictor: om.Predictor, session: om.Session, options: Options, out: Path, job: Job
) -> om.Predictor:
    from toy_family.model import transfer

    return transfer(predictor, session, options, out, job)


def _export(run: Path, path: Path) -> None:
    from toy_family.model import load, save

    save(load(run), path)


FAMILY = Family(
    name=NAME,
    load=_load,
    title="Shared gains",
    summary="Each neuron follows the mean of the visible ones, with a gain of its own.",
    describe=_describe,
    presets=_presets,
    training=Training(
        read=_read,
        spec=lambda config: SPEC,
        start=_train,
        configs={"toy-small": Path(__file__).parent / "toy-small.yaml"},
    ),
    transfer=Transfer(Options, _transfer),
    export=_export,
)
