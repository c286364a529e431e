"""A training run as data: sessions, model, phases; read from one YAML file."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Literal

import yaml

from omnimouse_model.errors import MaskError
from omnimouse_model.nets.checkpoint import config_from_dict, typed_values
from omnimouse_model.nets.omnimouse.config import SIZES, OmniMouseConfig
from omnimouse_model.predict.omnimouse.memory_fallback import Precision
from omnimouse_model.train.tasks import check_task

Targets = Literal["responses", "truth"]
Sampling = Literal["weighted", "balanced"]
ParameterGroup = Literal["core", "session"]
Validation = Literal["demo", "official", "held-out"]


@dataclass(frozen=True, slots=True)
class SessionChoice:
    """A session to train on, and how often it is drawn."""

    mouse: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """Optimiser settings of the core, or of the sessions' own parameters."""

    lr: float
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    clip: float = 1.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training with one mixture of tasks.

    Attributes
    ----------
    tasks
        task -> weight. A task is a strategy's name, "train" for the 120 official
        training masks, or a name of `tasks.EXTRA_TASKS`.
    targets
        What the rates are fitted to: the noisy "responses", or the simulator's exact
        conditional means ("truth"): given the latents too where responses are
        visible.
    lr_scale
        Multiplies both groups' rates in this phase.
    warmup, decay
        Steps of linear warm-up, and the last share of steps that falls to zero.
    warmup_from
        The rate of the first step of the warm-up, as officially (1e-7); None starts
        one step's share above zero.
    epochs
        The phase ends after so many passes over the train windows, if that is sooner
        than `steps`; needs balanced sampling.
    accumulate
        Batches, each of its own session and task, whose gradients make one step.
    max_targets
        Asked neurons per window, a random subset; None for all of the strategy.
    from_average
        Begin at the run's average instead of its last weights, the optimisers anew.
    population_heads
        A head of the encoder and one of the decoder that turn, before the first step,
        to the shared fluctuations of the population (`read_population`); needs
        simulated sessions. Begins at the average.
    behavior_head
        Likewise a head of the encoder that turns to behaviour.
    """

    name: str
    steps: int
    batch: int
    tasks: dict[str, float]
    targets: Targets = "responses"
    lr_scale: float = 1.0
    warmup: int = 0
    warmup_from: float | None = None
    decay: float = 0.0
    epochs: int | None = None
    behavior_weight: float = 0.1
    accumulate: int = 1
    max_targets: int | None = None
    from_average: bool = False
    population_heads: tuple[int, int] | None = None
    behavior_head: int | None = None


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides a training run."""

    seed: int
    model: OmniMouseConfig
    phases: tuple[Phase, ...]
    core: Group
    session: Group
    sessions: tuple[SessionChoice, ...] = ()
    sampling: Sampling = "weighted"
    """Sessions by weight, windows at random; or in turn, every window once an epoch."""
    animals: ParameterGroup = "session"
    """Whose settings the animals' vectors have; "core" where ranks share animals."""
    average: float = 0.0
    """Decay per step of the running average of the weights; 0 for none."""
    save_every: int | None = None
    """Save after so many steps; None saves by time alone."""
    save_every_s: float | None = 120.0
    """Save after so many seconds; None saves by steps alone."""
    validate_every: int = 250
    validation: Validation = "demo"
    """Conditions of the demo on one session, or the official ones on all.

    Under "held-out" the demo's, on windows that the session keeps from training.
    """
    patience: int | None = None
    """End after so many steps without a better validation; None never does."""
    validation_windows: int | None = 48
    """Windows of a session at most; None for all."""
    precision: Precision = "auto"
    """Autocast in bf16 or fp32; by "auto" bf16 on a GPU, fp32 on a CPU."""
    compile: bool = False
    """Compile the blocks of the net, whose first steps then take minutes."""
    mean_rates: bool = True
    """Start the neurons' biases at their mean rates instead of at zero."""
    smooth_positions: bool = False
    """Start the video's place codes smooth and strong instead of at 0.02."""
    quiet_residuals: bool = False
    """Start the residual branches at zero."""
    motion_energy: bool = False
    """Start the video encoder as motion energy."""
    tuned_embeddings: bool = False
    """Start the neurons' embeddings from a ridge on motion energy."""
    notes: dict[str, Any] = field(default_factory=dict)

    def phase_at(self, step: int) -> tuple[Phase, int]:
        """The phase of a step, and the step's number within it."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        return self.phases[-1], self.phases[-1].steps

    def batches_before(self, step: int) -> int:
        """Batches that a process has read before a step."""
        count = 0
        for phase in self.phases:
            taken = min(step, phase.steps)
            count, step = count + taken * phase.accumulate, step - taken
        return count

    @property
    def total_steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)


def read_config(path: str | Path) -> TrainConfig:
    """Read a run's YAML.

    Raises
    ------
    ValueError
        No YAML, or a field that is unknown, missing or no number, by name.
    """
    path = Path(path)
    try:
        return config_from(yaml_fields(path))
    except TypeError as error:
        raise ValueError(
            f"{path} is not a training config: {error}. The shipped one is an "
            f"example: {_CONFIGS / 'demo.yaml'}"
        ) from error


def config_from(raw: Any) -> TrainConfig:
    """A run from the fields of its YAML; `TypeError` names the one that is wrong."""
    given = checked_fields(TrainConfig, raw, "the file")
    return TrainConfig(
        model=_model(given.pop("model")),
        sessions=tuple(
            SessionChoice(**checked_fields(SessionChoice, values, where))
            for where, values in _sessions(given.pop("sessions", None))
        ),
        phases=tuple(
            _phase(values, where)
            for where, values in _entries(given.pop("phases"), "phases")
        ),
        core=Group(**checked_fields(Group, given.pop("core"), "core")),
        session=Group(**checked_fields(Group, given.pop("session"), "session")),
        **given,
    )


def _model(values: Any) -> OmniMouseConfig:
    """A released size by its name, or fields that differ from the 5M model's."""
    if isinstance(values, str):
        if values not in SIZES:
            names = ", ".join(SIZES)
            raise TypeError(f"model: there is no size {values!r}; choose of {names}")
        return SIZES[values]
    model = asdict(OmniMouseConfig()) | _mapping(values, "model")
    hiera = _mapping(model["hiera"], "model.hiera")
    model["hiera"] = asdict(OmniMouseConfig().hiera) | hiera
    return config_from_dict(model)


def _sessions(values: Any) -> list[tuple[str, Any]]:
    return [] if values is None else _entries(values, "sessions")


def _phase(values: Any, where: str) -> Phase:
    given = checked_fields(Phase, values, where)
    tasks = _mapping(given["tasks"], f"{where}.tasks")
    for name, weight in tasks.items():
        _check_number(weight, f"{where}.tasks.{name}")
        try:
            check_task(str(name))
        except MaskError as error:
            raise TypeError(f"{where}.tasks: {error}") from error
    return Phase(**given | {"tasks": {n: float(w) for n, w in tasks.items()}})


# -- what YAML may hold (Any: whatever it does) ---------------------------------------
def yaml_fields(path: Path) -> Any:
    """What a YAML file holds; `TypeError` where it is none."""
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise TypeError(f"not text, {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" at line {mark.line + 1}"
        problem = getattr(error, "problem", None) or error
        raise TypeError(f"not YAML{where}, {problem}") from error


def checked_fields(kind: type, values: Any, where: str) -> dict[str, Any]:
    """Values for a dataclass; `TypeError` names what is wrong, and where."""
    given = typed_values(kind, _mapping(values, where))
    missing = [
        f.name
        for f in fields(kind)
        if f.default is MISSING and f.default_factory is MISSING
    ]
    missing = [name for name in missing if name not in given]
    if missing:
        raise TypeError(f"{where} lacks {', '.join(missing)}")
    for f in fields(kind):
        if f.type in (int, float) and f.name in given:
            _check_number(given[f.name], f"{where}: {f.name}")
    return given


def _mapping(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise TypeError(f"{where} must hold named fields, found {shortened(values)}")
    return values


def _entries(values: Any, where: str) -> list[tuple[str, Any]]:
    """The entries of a list, each with what to call it."""
    if not isinstance(values, (list, tuple)) or not values:
        raise TypeError(f"{where} must be a list of one or more, found {values!r}")
    return [(f"{where}[{number}]", entry) for number, entry in enumerate(values)]


def _check_number(value: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " (YAML reads 1e-3 as text: write 1.0e-3)" * isinstance(value, str)
        raise TypeError(f"{what} must be a number, found {shortened(value)}{hint}")


# -- where they are -------------------------------------------------------------------
_CONFIGS = Path(__file__).parent / "configs"


def config_path(name: str) -> Path:
    """The file of a shipped config's name, or the path itself.

    Raises
    ------
    ValueError
        Neither is a file; names the shipped ones.
    """
    return shipped_or_own(name, _CONFIGS, "training config")


def shipped_or_own(name: str, folder: Path, what: str) -> Path:
    """The YAML of that name in a folder, or the path itself; see `config_path`."""
    shipped = folder / f"{name}.yaml"
    place = shipped if shipped.exists() else Path(name)
    if not place.is_file():
        names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise ValueError(
            f"There is no {what} {name!r}: give a YAML file, or the name of a "
            f"shipped one ({names})."
        )
    return place
