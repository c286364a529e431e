"""A family of models: all that the rest of the project knows of a kind of model.

All objects are frozen. A part that a family does not offer is None; commands and front
ends then say what is missing. Functions import their code when they are called, so that
a menu of all families loads no network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError, SessionFormatError
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import Job
from omnimouse_model.storage.trees import decode, read_json

Build = Callable[[str], Predictor]
"""Function from a device to a predictor."""


@dataclass(frozen=True, slots=True)
class Description:
    """What `omnimouse info` prints of a checkpoint.

    Attributes
    ----------
    sessions
        Session id -> number of neurons.
    facts
        Label -> text or number. "parameters" is the number of weights, "size" the name
        of a published size; fields of a config begin with "config.".
    assumptions
        Settings that the files do not state.
    """

    title: str
    sessions: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preset:
    """A task that is offered on screen and by name; without a mask, `reason` says why."""

    name: str
    mask: Mask | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """Training of a family.

    Attributes
    ----------
    read
        Returns the frozen config of a tree: a YAML file without the keys that all
        families share (`training.config.SHARED`). Raises `ValueError` that names a
        wrong field.
    spec
        Windows of the models that a config trains.
    start
        Trains on open sessions, or resumes the run in `out`, and returns the model of
        the best weights: `start(config, sessions, out, job, seed=0)`. Raises
        `StoppedError` if the job is cancelled; the run is then saved.
    configs
        Shipped configs by name; `om.fit(NAME, session)` trains `NAME-small`.
    """

    read: Callable[[Mapping[str, Any]], Any]
    spec: Callable[[Any], WindowSpec]
    start: Callable[..., Predictor]
    configs: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Fine-tuning of a model of a family to a session.

    Attributes
    ----------
    options
        Frozen dataclass with defaults; the metadata of a field may have a "help". Forms
        and the options of commands are made from it. A ranking and the commands set
        `steps`, `batch` and `seed` where there are such fields.
    start
        Fine-tunes, or resumes the run in `out`, and returns the result, which
        `Family.load(out, device)` loads, too.
    seconds
        About how many seconds of a CPU core it takes for a model (its name or path, and
        the bytes of its weights), a session and a number of steps; None where nobody has
        measured it. It imports no PyTorch: forms call it.
    after_steps
        What is done after the last step for a model (its name or path), in a few words such
        as "the context part is fitted", and "" if nothing is. It imports no PyTorch either.
    after_seconds
        About how many seconds of a CPU core that takes for a model and a session, as in
        `seconds`, 0 if nothing is done; None where nobody has measured it.
    unchanged
        Why fine-tuning a model cannot change what is predicted for a mask, in a sentence; ""
        if it can. It imports no PyTorch either.
    scored
        Tasks over which the held-out score is a mean, in a few words each; empty if it is of
        none in particular.
    held_out
        Of which part the windows of that score are, in a few words.
    """

    options: type
    start: Callable[[Predictor, Session, Any, Path, Job], Predictor]
    seconds: Callable[[str, int, Session, int], float] | None = None
    after_steps: Callable[[str], str] = lambda model: ""
    after_seconds: Callable[[str, int, Session], float] | None = None
    unchanged: Callable[[str, Mask], str] = lambda model, mask: ""
    scored: tuple[str, ...] = ()
    held_out: str = "some of the train part"


def _no_checkpoint(path: Path, device: str) -> Predictor:
    raise CheckpointError(f"{path} is no checkpoint: models of its family are not stored in files.")


@dataclass(frozen=True, slots=True)
class Family:
    """One family of models.

    Parameters
    ----------
    name
        Written into checkpoints as `family`, and used in commands.
    title, summary
        Label in menus, by default the name, and one sentence for users.
    names
        Predictors that need no file: name -> builder on a device.
    recognises
        Whether a path is a checkpoint of this family; by default one that names it.
    load
        Builds a predictor from the path of a checkpoint, on a device; by default none.
    describe
        What `omnimouse info` prints of a checkpoint; by default the sessions that its
        predictor knows.
    presets
        Tasks that this family offers for a session, beside those of all models.
    training, transfer
        None for a family that is not trained here.
    held_out_metric
        Name of the metric of the scores by which both choose the best weights.
    export
        Writes weights, `export(run, path)`: a checkpoint for a path that ends with
        .safetensors, else the official layout of the family into a folder. `run` is the
        folder of a run, or weights in that layout.
    published
        Row of the OmniMouse paper's table that is a model of this kind; see
        `evaluation.published.PRINTED`.
    """

    name: str
    title: str = ""
    summary: str = ""
    names: Mapping[str, Build] = field(default_factory=dict)
    # The defaults of these two depend on the name.
    recognises: Callable[[Path], bool] = None  # type: ignore[assignment]  # set below
    load: Callable[[Path, str], Predictor] = _no_checkpoint
    describe: Callable[[Path], Description] = None  # type: ignore[assignment]  # set below
    presets: Callable[[Session], Sequence[Preset]] = lambda session: ()
    training: Training | None = None
    transfer: Transfer | None = None
    held_out_metric: str = "correlation"
    export: Callable[[Path, Path], object] | None = None
    published: str = ""

    def __post_init__(self) -> None:
        # The class is frozen, and these defaults depend on the name.
        if not self.title:
            object.__setattr__(self, "title", self.name)
        if self.recognises is None:
            object.__setattr__(self, "recognises", lambda path: stated_family(path) == self.name)
        if self.describe is None:
            object.__setattr__(self, "describe", self._sessions_of)

    def _sessions_of(self, path: Path) -> Description:
        return Description(self.title, dict(self.load(path, "cpu").needs.n_neurons))


def later(place: str) -> Callable[..., Any]:
    """Return the function at `module:name`, whose module is imported when it is called.

    The name can have dots: `module:OBJECT.method`.
    """
    return partial(_call, place)


def _call(place: str, /, *arguments: Any, **options: Any) -> Any:
    return resolve_name(place)(*arguments, **options)


def shipped_configs(folder: Path) -> dict[str, Path]:
    """Return the configs in a folder by name, for `Training.configs`."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def shipped_family(file: str, model: str, run: str, **parts: Any) -> Family:
    """Return the family of a package: its file, and objects `module:OBJECT` in it.

    The model has `load` and `describe`, the run `read`, `windows`, `train` and `export`;
    configs are in `configs` beside the file, whose folder has the name of the family.
    """
    folder = Path(file).parent
    here = f"omnimouse_model.families.{folder.name}"
    read, windows, train, export = (
        later(f"{here}.{run}.{name}") for name in ("read", "windows", "train", "export")
    )
    return Family(
        folder.name,
        load=later(f"{here}.{model}.load"),
        describe=later(f"{here}.{model}.describe"),
        training=Training(read, windows, train, shipped_configs(folder / "configs")),
        export=export,
        **parts,
    )


def transfer_options(transfer: Transfer, values: Mapping[str, Any], model: str) -> Any:
    """Return the options of a transfer; values of None stand for the defaults.

    Raises
    ------
    ValueError
        The family has no such option, or a value does not fit; the message names it.
    """
    stated = {name: value for name, value in values.items() if value is not None}
    known = {one.name for one in fields(transfer.options)}
    if unknown := stated.keys() - known:
        raise ValueError(
            f"{model} has no option {', '.join(sorted(unknown))}; its options are "
            f"{', '.join(sorted(known))}."
        )
    # Objects, such as a session, are no values of a file.
    objects = {name: value for name, value in stated.items() if isinstance(value, Session)}
    plain = {name: value for name, value in stated.items() if name not in objects}
    return replace(decode(transfer.options, plain, "the options"), **objects)


def stated_family(path: Path) -> str:
    """Return the family that the JSON file of a checkpoint names, "" without one."""
    return str(stated_in(path).get("family", ""))


def stated_in(path: Path) -> Mapping[str, Any]:
    """Return the JSON file of a checkpoint that names its family; empty without one."""
    descriptions = sorted(path.glob("*.json")) if path.is_dir() else [path.with_suffix(".json")]
    for file in descriptions:
        try:
            description = read_json(file)
        except SessionFormatError:
            continue  # the loader of the family reports what is wrong with the file
        if isinstance(description, dict) and isinstance(description.get("family"), str):
            return description
    return {}
