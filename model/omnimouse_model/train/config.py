"""A training run as data: sessions, model, phases; read from one YAML file."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from omnimouse_model.nets.checkpoint import config_from_dict, typed_values
from omnimouse_model.nets.config import OmniMouseConfig

Targets = Literal["responses", "truth"]


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
        training masks, or a name of `batches.EXTRA_TASKS`.
    targets
        What the rates are fitted to: the noisy "responses", or the simulator's exact
        conditional means ("truth"): given the latents too where responses are
        visible.
    lr_scale
        Multiplies both groups' rates in this phase.
    warmup, decay
        Steps of linear warm-up, and the last share of steps that falls to zero.
    max_targets
        Asked neurons per window, a random subset; None for all of the strategy.
    population_heads
        A head of the encoder and one of the decoder that turn, before the first step,
        to what the population shares (`nets.population`); needs simulated sessions.
        The optimisers and the average then begin anew.
    """

    name: str
    steps: int
    batch: int
    tasks: dict[str, float]
    targets: Targets = "responses"
    lr_scale: float = 1.0
    warmup: int = 0
    decay: float = 0.0
    behavior_weight: float = 0.1
    max_targets: int | None = None
    population_heads: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides a training run."""

    seed: int
    model: OmniMouseConfig
    sessions: tuple[SessionChoice, ...]
    phases: tuple[Phase, ...]
    core: Group
    session: Group
    average: float = 0.0
    """Decay per step of the running average of the weights; 0 for none."""
    save_every_s: float = 120.0
    validate_every: int = 250
    validation_windows: int = 48
    precision: Literal["bf16", "fp32"] = "bf16"
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

    @property
    def total_steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)


def read_config(path: str | Path) -> TrainConfig:
    """Read a run's YAML.

    Raises
    ------
    ValueError
        A field that is unknown or missing, by name.
    """
    path = Path(path)
    raw = yaml.safe_load(path.read_text("utf-8"))
    try:
        model = asdict(OmniMouseConfig()) | raw.pop("model")
        model["hiera"] = asdict(OmniMouseConfig().hiera) | model["hiera"]
        return TrainConfig(
            model=config_from_dict(model),
            sessions=tuple(
                SessionChoice(**typed_values(SessionChoice, s))
                for s in raw.pop("sessions")
            ),
            phases=tuple(_phase(p) for p in raw.pop("phases")),
            core=_group(raw.pop("core")),
            session=_group(raw.pop("session")),
            **typed_values(TrainConfig, raw),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a training config: {error}.") from error


def _group(values: dict[str, Any]) -> Group:
    return Group(**typed_values(Group, values))


def _phase(values: dict[str, Any]) -> Phase:
    tasks = {name: float(weight) for name, weight in values["tasks"].items()}
    return Phase(**typed_values(Phase, values) | {"tasks": tasks})


def config_path(name: str) -> Path:
    """The file of a shipped config's name, or the path itself."""
    shipped = Path(__file__).parent / "configs" / f"{name}.yaml"
    return shipped if shipped.exists() else Path(name)
