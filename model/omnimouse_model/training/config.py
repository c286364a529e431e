"""Fields of training configs that all families share, and the files of configs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import unless_missing
from omnimouse_model.storage.trees import Within, decode, read_json
from omnimouse_model.storage.write import write_json

Targets = Literal["responses", "truth"]


Count = Annotated[int, Within(1, 10**9)]
ADDED: Final = {"is_added": True}
"""Metadata of a field that is newer than its config: where it has its default, the config
is that of before, and so are the scores of a ranking."""


@dataclass(frozen=True, slots=True)
class SessionChoice:
    """A session to train on, and its sampling weight.

    Attributes
    ----------
    mouse
        Name of a simulated mouse, or path of a session.
    context
        Whether an export fits the context part of the model to it.
    neurons
        Key of an earlier session of the list with the same neurons in the same order:
        both share the parameters of the neurons. Empty for neurons of its own.
    """

    mouse: str
    weight: float = 1.0
    context: bool = False
    neurons: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFields:
    """Fields of a training that all families share.

    Attributes
    ----------
    sessions
        Sessions to train on.
    seed
        Seed of start values, and of all that is drawn in training.
    save_every, save_every_s
        Steps, and seconds, between saves; None for no such saves.
    notes
        `renames`: key of a session -> key of another recording of the same neurons,
        which an export gives it. Else free.
    """

    sessions: tuple[SessionChoice, ...] = ()
    seed: int = 0
    save_every: Count | None = None
    save_every_s: float | None = 120.0
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainFields(SharedFields):
    """Fields of the training configs of this package that the loop reads.

    A config has `total_steps` beside them, as a field or a property.

    Attributes
    ----------
    validate_every, patience
        Steps between validations; steps without a better score after which the run ends,
        None for no limit.
    """

    validate_every: Count = 250
    patience: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings(SharedFields):
    """A training config: the fields that all families share, and the tree of the family.

    Attributes
    ----------
    family
        Name of the family; "" in older configs, which are of the first family.
    tree
        The other keys, for `predict.family.Training.read`.
    places
        Folders of the sessions, in their order; known once they are opened.
    is_replaced
        Whether the caller gave other sessions than the config names.
    """

    family: str = ""
    tree: dict[str, Any] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    is_replaced: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "RunSettings":
        """Return the settings of a parsed config; `ValueError` names a wrong field."""
        shared = {key: value for key, value in values.items() if key in SHARED}
        settings = decode(cls, shared, "the file")
        return replace(settings, tree={k: v for k, v in values.items() if k not in SHARED})

    @property
    def shared(self) -> dict[str, Any]:
        """The fields that the config of a family repeats for its loop."""
        return {one.name: getattr(self, one.name) for one in fields(SharedFields)}


SHARED = ("family", *(one.name for one in fields(SharedFields)))
"""Keys of a training config that all families share; the rest is the family's."""
RECORD = "run.json"
"""File in the folder of a run that says what it was started with."""


def write_record(out: Path, settings: RunSettings) -> None:
    """Write what a run was started with into its folder."""
    write_json(out / RECORD, asdict(settings))


def run_record(out: Path) -> RunSettings:
    """Return what the run in a folder was started with; the defaults without a record."""
    path = out / RECORD
    try:
        return decode(RunSettings, unless_missing(lambda: read_json(path)) or {}, path)
    except SessionFormatError as error:
        hint = "start the same training again, which writes it anew"
        raise SessionFormatError(path, error.code, error.message, hint) from error


Trained = Literal["embeddings", "all"]
BATCH_HELP: Final = (
    "Windows per step; more make each step slower, and the course of the loss steadier"
)
SEED_HELP: Final = (
    "Seed of all that is drawn: held-out windows, start values, and windows and tasks of each "
    "step. The same seed repeats a run; scores of two seeds are over other held-out windows"
)


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """Options of a fine-tuning of a network with a core and parts of each session."""

    train: Trained = field(
        default="embeddings",
        metadata={
            "help": "embeddings: the parts of this recording, on a frozen core; predictions "
            "for other recordings do not change. all: the core, too; the result knows only "
            "this recording"
        },
    )
    steps: Annotated[int, Within(0, 10**9)] = field(
        default=300,
        metadata={
            "help": "Maximum number; training ends if the held-out score no longer increases"
        },
    )
    batch: Count = field(default=8, metadata={"help": BATCH_HELP})
    seed: int = field(default=0, metadata={"help": SEED_HELP})


@dataclass(frozen=True, slots=True)
class NeuronTransferOptions(TransferOptions):
    """Options of a fine-tuning of a network with a vector for each neuron."""

    neurons_of: Session | None = field(
        default=None,
        metadata={
            "help": "Recording that the model knows, with some of the same neurons by their "
            "ids (`match_neurons`): their vectors start at those of the model"
        },
    )


def transfer_seconds(
    *,
    start_s: float,
    step_s: float,
    neuron_s: float,
    validation_steps: float,
    validations: int,
    n_bytes: float,
) -> Callable[[str, int, Session, int], float]:
    """Return the time of fine-tunings (`Transfer.seconds`) from that of a small model.

    Parameters
    ----------
    start_s
        Core-seconds before the first step.
    step_s, neuron_s
        Core-seconds of a step, and what each neuron of the session adds to it.
    validation_steps
        Steps that take as long as a validation.
    validations
        Largest number of validations after the first one.
    n_bytes
        Weights of that model. A step is assumed to take as much longer as there are more.
    """

    def seconds(model: str, n_bytes_of: int, session: Session, steps: int) -> float:
        n_steps = steps + validation_steps * (1 + min(steps, validations))
        size = max(n_bytes_of / n_bytes, 0.5)
        return start_s + size * n_steps * (step_s + neuron_s * session.n_neurons)

    return seconds


def shipped_or_own(name: str, shipped: Mapping[str, Path], what: str) -> Path:
    """Return the shipped file of that name, or the path.

    Raises
    ------
    ValueError
        Neither is a file; the message lists the shipped ones.
    """
    place = shipped.get(name, Path(name))
    if not place.is_file():
        raise ValueError(
            f"There is no {what} {name!r}: give a YAML file, or the name of a "
            f"shipped one ({', '.join(sorted(shipped))})."
        )
    return place
