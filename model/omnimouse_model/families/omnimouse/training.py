"""Training of OmniMouse.

    omnimouse train CONFIG --out RUN          start, or go on from RUN's last save
    omnimouse train CONFIG --out RUN --steps 200
    torchrun --nproc-per-node 8 -m omnimouse_app train CONFIG --out RUN

A resumed run takes rates, weight decays and phases from the current config; its model
must be the saved one.

The module is long because one training run is read from top to bottom in it.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import CheckpointError, FinetuneError
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.shard import evaluate_predictors
from omnimouse_model.evaluation.tier_windows import scored_starts, spread_starts
from omnimouse_model.families.omnimouse import window_cells
from omnimouse_model.families.omnimouse.batches import (
    Batch,
    Group,
    ParameterGroup,
    Phase,
    Streams,
    TrainConfig,
    check_phase_sessions,
    config_from,
    draw_batch,
    epoch_batches,
)
from omnimouse_model.families.omnimouse.checkpoint import (
    OmniMouseCheckpoint,
    read_checkpoint,
    read_official,
)
from omnimouse_model.families.omnimouse.config import SIZES, OmniMouseConfig
from omnimouse_model.families.omnimouse.context_part import fit_context, load_checkpoint_predictor
from omnimouse_model.families.omnimouse.network import (
    HieraBlock,
    OmniMouse,
    behavior_loss,
    check_size,
    poisson_loss,
)
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.omnimouse.start_values import set_attention_heads, set_start_values
from omnimouse_model.families.omnimouse.transfer import Course, Part, StartValues, transfer_config
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.masks.strategies import strategy_names
from omnimouse_model.predict.devices import (
    Precision,
    computes_in_bf16,
    on_device,
    resolve_device,
    torch_threads,
)
from omnimouse_model.progress import QUIET, Job
from omnimouse_model.storage.tensors import write_pickle
from omnimouse_model.training.checkpoints import (
    MODEL,
    last_state,
    rank_files,
    read_state,
    saved_state,
)
from omnimouse_model.training.config import NeuronTransferOptions, RunSettings, run_record
from omnimouse_model.training.distributed import Team
from omnimouse_model.training.loop import SUMMARY, TrainingRun, mean_without, scored_over, seeded
from omnimouse_model.training.metrics_log import SCORED_NEURONS, SCORED_WINDOWS
from omnimouse_model.training.sessions import TrainingSession, check_name, hold_out

# -- the run: start, steps, validation, saves ------------------------------------------
# Parameters with this prefix belong to the sessions of one rank. Animal vectors do not
# have it: with several ranks they are part of the core (`split_parameters`).
OWN = "sess_params."
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OmniMouseTraining(TrainingRun):
    """A training of OmniMouse: its net, optimisers and sessions of one process.

    Attributes
    ----------
    net
        The core and the rank's own sessions.
    result
        Net with the moving average of the weights if the run averages, else `net`.
    counts
        session key -> number of neurons, for the sessions of all ranks.
    optimisers
        "core" and "session": the optimisers of the two parameter groups.
    """

    title = "OmniMouse"
    config = TrainConfig
    checkpoint = OmniMouseCheckpoint
    load_model = staticmethod(load_checkpoint_predictor)
    net: OmniMouse = field(init=False)
    result: OmniMouse = field(init=False)
    counts: dict[str, int] = field(init=False, default_factory=dict)
    optimisers: dict[str, torch.optim.AdamW] = field(init=False)

    def __post_init__(self) -> None:
        """Build net, moving average and optimisers, without start values.

        Raises
        ------
        ValueError
            The config needs one process, and the team has several.
        """
        sessions, team, origin = self.sessions, self.team, self.origin
        config = self.settings = with_epochs(self.settings, sessions, team)
        _check_team(config, team)
        # The core holds one vector per animal of the whole run, so every rank needs the
        # animals of all ranks before it creates its net.
        own = {s.key: s.session.n_neurons for s in sessions}
        names = {s.key: s.session.animal_id or s.key for s in sessions}
        animals: dict[str, str] = {}
        for ranks_counts, ranks_names in team.gather((own, names)):
            self.counts |= ranks_counts
            animals |= ranks_names
        if origin is not None:
            animals = origin.animals
        check_size(config.model, own)
        self.net = self.result = OmniMouse(config.model, own, animals).to(self.device)
        if config.average:
            self.result = OmniMouse(config.model, own, animals).to(self.device)
            # Never trained: without gradients, and without dropped paths in validation.
            self.result.requires_grad_(False).eval()
        if origin is not None:
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad_(origin.is_trained(name))
        core, session = split_parameters(self.net, config.animals)
        self.optimisers = {
            "core": torch.optim.AdamW(core, **config.core.settings, fused=True),
            "session": torch.optim.AdamW(session, **config.session.settings, fused=True),
        }
        # In place: names of parameters do not change.
        if config.compile:
            compile_blocks(self.net)

    def group(self, name: ParameterGroup) -> list[Tensor]:
        """Return the parameters of one group."""
        return self.optimisers[name].param_groups[0]["params"]

    # -- as part of a `Family` ---------------------------------------------------------
    @classmethod
    def checked(cls, config: TrainConfig, record: RunSettings) -> TrainConfig:
        """Return the config, whose phases can read the sessions of the record of a run."""
        if record.is_replaced:
            # Phases name sessions of the config: of others, all phases read all.
            phases = tuple(replace(phase, sessions=None) for phase in config.phases)
            config = replace(config, phases=phases)
        check_phase_sessions(replace(config, sessions=record.sessions))
        return config

    @classmethod
    def of_transfer(
        cls, origin: OmniMouseCheckpoint, session: Session, options: NeuronTransferOptions
    ) -> tuple[TrainConfig, TrainingSession]:
        """Return config and windows of a fine-tuning, which may train embeddings alone."""
        check_name(session)
        # Windows are held out by the seed, so a resumed run has the same split.
        source = hold_out(session, options.seed)
        return transfer_config(origin, source, options), source

    @classmethod
    def origin_of(
        cls,
        origin: OmniMouseCheckpoint,
        source: TrainingSession,
        options: NeuronTransferOptions,
        job: Job,
    ) -> tuple[StartValues, Job]:
        """Return the start values of a fine-tuning, and the job of its steps."""
        config = transfer_config(origin, source, options)
        n_scored = len(DEMO) * len(spread_starts(source.held_out, config.validation_windows))
        course = Course.of(job, config, source, n_scored=n_scored, fits=bool(origin.context))
        device = resolve_device(job.device)
        return StartValues(origin, source, options, course, device), course.steps()

    @staticmethod
    def finished(tuned: OmniMouseCheckpoint, origin: StartValues) -> OmniMouseCheckpoint:
        """Return a fine-tuned model; one with a context part gets that of the session.

        Raises
        ------
        StoppedError
            The job is cancelled during the fit of the context part.
        """
        model, course, session = origin.model, origin.course, origin.source.session
        if model.context:
            net = tuned.build().requires_grad_(False).to(origin.device)
            transformer = TransformerPredictor(net, model.source)
            window_s = course.cell_s * window_cells(session.n_neurons)
            own = fit_context(transformer, session, course.part(Part.CONTEXT), window_s)
            tuned = replace(tuned, context={**tuned.context, **own})
        other_s = course.took_s[Part.START_VALUES] + course.took_s[Part.CONTEXT]
        facts = {
            "animal_was_known": origin.animal in model.animals.values(),
            "other_minutes": round(other_s / 60, 1),
        }
        return replace(tuned, card={"finetuned": tuned.card["finetuned"] | facts})

    # -- start and resume --------------------------------------------------------------
    def start(self) -> bool:
        """Set the start values; True if they are those of an existing model."""
        if self.origin is not None:
            self.origin.fill(self.net)
        else:
            # A seed per rank, so that sessions of different ranks start with different vectors.
            generator = torch.Generator().manual_seed(self.settings.seed + self.team.rank)
            # Drawn on the CPU, so that they do not depend on the device.
            set_start_values(self.net.cpu(), self.sessions, self.settings, generator)
            self.net.to(self.device)
            # Ranks have drawn different cores, and only gradients are averaged later.
            self.team.copy_from_main(self.group("core"))
        self.result.load_state_dict(self.net.state_dict())
        return self.origin is not None

    @property
    def fixed(self) -> dict[str, Any]:
        """Animals of all ranks, whose vectors the core has."""
        return {"animals": dict(self.net.animals)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the tensors of a save of this rank; those of the core are in the main one's."""
        config, team = self.settings, self.team
        of_main = None if team.is_main else saved_state(self.out, Team(size=team.size), {})
        main = of_main or state
        self.net.load_state_dict(_joined(main, state, "net"))
        if config.average:
            # The config may have turned averaging on only after this save.
            which = "average" if state["average"] else "net"
            self.result.load_state_dict(_joined(main, state, which))
        saved = {"core": (main["core"], config.core), "session": (state["session"], config.session)}
        for name, (of_optimiser, group) in saved.items():
            optimiser = self.optimisers[name]
            # load_state_dict also restores the saved settings; those of the config apply.
            optimiser.load_state_dict(of_optimiser)
            optimiser.param_groups[0] |= group.settings
        _log.info("resumed at step %d", state["step"])

    def _begin_phase(self) -> None:
        """Apply the start values of a phase, before its first step.

        A phase can start from the averaged weights, and with attention heads that are
        fitted to activations of the present net.
        """
        phase, step = self.settings.phase_at(self.state.step)
        fits_heads = phase.population_heads is not None or phase.behavior_head is not None
        if step or not (fits_heads or phase.from_average):
            return
        self.net.load_state_dict(self.result.state_dict())
        if fits_heads:
            # On the CPU, like all start values.
            set_attention_heads(self.net.cpu(), self.sessions, phase, self.settings.seed)
            self.net.to(self.device)
        # Moments of Adam belong to the replaced weights.
        for optimiser in self.optimisers.values():
            optimiser.state.clear()
        self.result.load_state_dict(self.net.state_dict())

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> "Step":
        """Draw the batches of a step."""
        return draw_step(self.settings, self.sessions, self.team.rank, number)

    def step(self, drawn: "Step") -> dict[str, float]:
        """Train on the batches of one step, and return the values to log.

        Gradients of the core are averaged over the batches of all ranks, those of a rank's
        sessions over its own batches. Each group is clipped separately, the session group
        on each rank.

        Raises
        ------
        ValueError
            The loss was not finite in `MAX_SKIPPED` steps in a row, on any rank. All ranks
            raise it in the same step, so that none waits for another.
        """
        self._begin_phase()
        config, state = self.settings, self.state
        phase, step = config.phase_at(state.step)
        of_batches = self._gradients(phase, drawn)
        average = self.team.start_average(self.group("core"))
        rates = {}
        # Sessions first: their update overlaps with the communication of core gradients.
        for name, group in (("session", config.session), ("core", config.core)):
            if name == "core":
                average()
            rates[name] = learning_rate(group, phase, step)
            _update(self.optimisers[name], group, rates[name])
        self._update_average()
        row, last = _over_ranks(of_batches, self.team), drawn.batches[-1]
        what = f" (last task of this process {last.task!r}, session {last.windows.session!r})"
        state.count(bool(row.pop("not_finite")), what)
        return row | {"step": state.step, "lr": rates["core"], "session_lr": rates["session"]}

    def _gradients(self, phase: Phase, drawn: "Step") -> list[dict[str, float]]:
        """Run forward and backward passes; return the losses and sizes of each batch."""
        net, config = self.net.train(), self.settings

        def forward(batch: Batch) -> tuple[Tensor, dict[str, float]]:
            batch = on_device(batch, self.device)
            loss, row = batch_loss(net, batch, phase, config.precision)
            tokens = batch.n_tokens(net.config.hiera.tokens_per_step)
            row |= {"loss": float(loss.detach()), "tokens": float(tokens)}
            # Gradients add up over batches: the division makes their sum a mean.
            return loss / phase.accumulate, row | {"windows": float(batch.n_windows)}

        if len(drawn.batches) > 1 and are_independent(config, self.device):
            return parallel_gradients(forward, drawn.batches, list(net.parameters()))
        rows = []
        # Dropped paths use the global generator.
        with seeded(drawn.seed, self.device):
            for batch in drawn.batches:
                loss, row = forward(batch)
                # With a frozen core, a loss may depend on no trained parameter.
                if loss.requires_grad:
                    loss.backward()
                rows.append(row)
        return rows

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the moving average of the weights, with a smaller decay at first."""
        if not self.settings.average:
            return
        step = self.state.step
        # Warm-up as in TensorFlow's ExponentialMovingAverage: otherwise the start values
        # dominate the average for about 1 / (1 - decay) steps.
        keep = min(self.settings.average, (step + 1) / (step + 10))
        averaged, current = ([p.data for p in n.parameters()] for n in (self.result, self.net))
        torch._foreach_lerp_(averaged, current, 1.0 - keep)

    # -- validation and results --------------------------------------------------------
    def scores(self) -> dict[str, float]:
        """Return scores by condition and behaviour channel, and the mean "validation".

        The mean is over the response scores only. "demo" and "held-out" score the first
        session of the run. "official" scores the eight official validation masks on
        every session with such windows, and averages over sessions weighted by their
        number of neurons. All ranks must call it, and they return the same scores.
        """
        self.result.eval()
        if self.settings.validation != "official":
            # All ranks must take part in gather, so the others send an empty dict.
            (scores, *_) = self.team.gather(self._demo_scores() if self.team.is_main else {})
        else:
            sessions = [one.session for one in self.sessions if len(_official_starts(one.session))]
            rows = [(one.n_neurons, self._official_scores(one)) for one in sessions]
            scores = _mean([row for of_rank in self.team.gather(rows) for row in of_rank])
        # Recorded values that are no numbers have no score (NaN), while constant responses
        # have 0. Such conditions do not count, or one of them would make every comparison
        # with the best score False.
        scores = {name: value for name, value in scores.items() if np.isfinite(value)}
        others = ("decode", SCORED_WINDOWS, SCORED_NEURONS)
        of_responses = [v for name, v in scores.items() if not name.startswith(others)]
        if self.origin is not None and not self.state.step and not of_responses:
            # Without a score, no weights would ever be the best ones.
            source = self.sessions[0]
            raise FinetuneError(
                "no_score",
                f"The {len(source.held_out)} windows of session {source.key!r} that are held "
                "out have no score: the recorded responses are no numbers there. Look at its "
                "response file, or choose another seed.",
            )
        return scores | ({SUMMARY: float(np.mean(of_responses))} if of_responses else {})

    def _demo_scores(self) -> dict[str, float]:
        source, starts = self.sessions[0], self.sessions[0].held_out
        session, config = source.session, self.settings
        # Limited to the streams of the session; those without remaining targets are left out.
        streams = Streams.of(session, config.model.behavior_channels)

        def limited(mask: Callable[[Session], Mask]) -> Callable[[Session], Mask]:
            return lambda asked: streams.limit(mask(asked))

        asked = [one for one in DEMO if streams.has_targets(one.mask(session))]
        conditions = [replace(one, mask=limited(one.mask)) for one in asked]
        if config.validation == "demo":
            starts = scored_starts(session, "validation", spec=OMNIMOUSE)
        return self._scored(session, conditions, starts, lambda _, channel: f"decode_{channel}")

    def _official_scores(self, session: Session) -> dict[str, float]:
        conditions = [
            Condition(name, partial(Mask.from_strategy, name, seed=self.settings.seed))
            for name in strategy_names()
            if name.startswith("validation/")
        ]

        def decoded(strategy: str, channel: str) -> str:
            return f"decode/{strategy.removeprefix('validation/')}/{channel}"

        return self._scored(session, conditions, _official_starts(session), decoded)

    def _scored(
        self,
        session: Session,
        conditions: Sequence[Condition],
        starts: np.ndarray,
        decoded: Callable[[str, str], str],
    ) -> dict[str, float]:
        """Return scores by strategy, those of behaviour by the names that `decoded` gives them."""
        predictor = TransformerPredictor(self.result, "training", precision=self.settings.precision)
        some = spread_starts(starts, self.settings.validation_windows)
        # Of a fine-tuning, validations take most of the time.
        job = QUIET if self.origin is None else self.origin.course.validation(self.state.step)
        found = evaluate_predictors([predictor], [session], conditions, starts=some, job=job)
        behavior = {decoded(one.strategy, one.channel): one.value for one in found.behavior}
        values = {one.strategy: one.value for one in found.scores} | behavior
        if self.origin is not None:
            self.without = mean_without([s for s in found.scores if np.isfinite(s.value)])
        return values | scored_over(found.scores)

    @property
    def saved(self) -> dict[str, Any]:
        """Tensors and plain containers of a save."""
        is_main = self.team.is_main

        def weights(net: OmniMouse) -> dict[str, Tensor]:
            state = net.state_dict()
            return {k: v for k, v in state.items() if is_main or k.startswith(OWN)}

        return {
            "net": weights(self.net),
            "average": weights(self.result) if self.settings.average else None,
            # Only the main rank saves the core.
            "core": self.optimisers["core"].state_dict() if is_main else None,
            "session": self.optimisers["session"].state_dict(),
        }

    def model(self, folder: Path) -> OmniMouseCheckpoint:
        """Return the weights of all ranks."""
        found = OmniMouseCheckpoint.of_network(self.result)
        # Sessions of other ranks exist only in their state files, which are complete here.
        for path in rank_files(folder)[1:]:
            state = read_state(path)
            found = replace(found, state={**found.state, **(state["average"] or state["net"])})
        return replace(found, sessions=self.counts)


def _joined(main: Mapping[str, Any], state: Mapping[str, Any], which: str) -> dict[str, Tensor]:
    """Return the weights of the main rank's core and of a rank's own sessions."""
    own: dict[str, Tensor] = state[which]
    core = {k: v for k, v in main[which].items() if not k.startswith(OWN)}
    return core | {k: v for k, v in own.items() if k.startswith(OWN)}


def _check_team(config: TrainConfig, team: Team) -> None:
    """Raise ValueError if the config is not possible with several processes."""
    if team.size == 1:
        return
    if config.animals != "core":
        raise ValueError(
            "Several processes may have sessions of one animal: set animals: core in "
            "the config, so that they share its vector."
        )
    if any(phase.sessions for phase in config.phases):
        raise ValueError(
            "Several processes share the sessions, and one may have none of a phase: "
            "start it without torchrun, or take `sessions` out of the phases."
        )
    heads = [p for p in config.phases if p.population_heads or p.behavior_head]
    if config.tuned_embeddings or config.motion_energy or heads:
        raise ValueError(
            "Start values from simulated mice (motion_energy, tuned_embeddings, "
            "population_heads, behavior_head) need all sessions in one process: start "
            "it without torchrun, or take them out of the config."
        )


def split_parameters(
    net: nn.Module, animals: ParameterGroup = "session"
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters of the core and those of the sessions.

    `animals` is the group of the animal vectors. The table of the official recipe lists
    them with the sessions; the rule of the official optimiser ("without sess_params")
    puts them into the core.
    """
    own = (OWN,) if animals == "core" else (OWN, "animal_params.")
    core: list[Tensor] = []
    sessions: list[Tensor] = []
    for name, parameter in net.named_parameters():
        (sessions if name.startswith(own) else core).append(parameter)
    return core, sessions


# -- Validation scores during training -----------------------------------------------
DEMO = (
    Condition("video_behavior", partial(Mask.from_strategy, "test/video_behavior")),
    Condition("half_video", half_population_mask),
    Condition("half", partial(half_population_mask, video=False)),
    Condition("forecast", partial(Mask.from_strategy, "causal_response_25_behavior")),
    Condition("decode", partial(Mask.from_strategy, "test/all_response_video")),
)
OFFICIAL_TIERS = ("validation", "oracle")
OFFICIAL_STRIDE = 60


def _official_starts(session: Session) -> np.ndarray:
    """Return starts every 2 s of tiers validation and oracle, with blanks.

    This is the rule of the official config.
    """
    return session.window_starts(OFFICIAL_TIERS, OFFICIAL_STRIDE, True, OMNIMOUSE)


def _mean(rows: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Return the mean of each score over sessions, weighted by neurons, and sums of counts."""
    means = {}
    for name in dict.fromkeys(name for _, scores in rows for name in scores):
        pairs = [(n, scores[name]) for n, scores in rows if name in scores]
        # Sessions with an undefined score are left out, but a score that is undefined
        # in all sessions stays NaN.
        pairs = [pair for pair in pairs if np.isfinite(pair[1])] or pairs
        counts, values = zip(*pairs, strict=True)
        is_count = name in (SCORED_WINDOWS, SCORED_NEURONS)
        means[name] = sum(values) if is_count else float(np.average(values, weights=counts))
    return means


# -- one training step: draw batches, compute the loss, update both parameter groups
LOSSES = ("loss", "response_loss", "behavior_loss")


@dataclass(frozen=True, slots=True)
class Step:
    """Batches of one step, and the seed of its stochastic depth (dropped paths)."""

    seed: int
    batches: list[Batch]


def draw_step(config: TrainConfig, sessions: list[TrainingSession], rank: int, number: int) -> Step:
    """Draw the batches of a step on one rank, from a generator seeded by its number."""
    phase, _ = config.phase_at(number)
    # Rank 0 draws the same as a run of one process.
    of_rank = (rank,) if rank else ()
    rng = np.random.default_rng([config.seed, number, *of_rank])
    seed = int(rng.integers(2**31))
    turns: list[tuple[int, int] | None] = [None] * phase.accumulate
    if config.sampling == "balanced":
        first = config.batches_before(number)
        turns = [(config.seed, first + k) for k in range(phase.accumulate)]
    batches = [draw_batch(sessions, phase, config.model, rng, turn) for turn in turns]
    return Step(seed, batches)


def learning_rate(group: Group, phase: Phase, step: int) -> float:
    """Return the learning rate of a parameter group at a step of a phase.

    With `warmup_from`, the warm-up is the official one: step s uses
    `from + s·(lr − from)/(warmup − 1)`, so the last warm-up step reaches `lr`.
    """
    if phase.warmup_from is not None and step < phase.warmup:
        rise = group.lr * phase.lr_scale - phase.warmup_from
        return phase.warmup_from + step * rise / max(phase.warmup - 1, 1)
    # Linear warm-up, constant part and linear decay.
    # step + 1: the first step must not have rate 0, which would waste a batch.
    warm = min(1.0, (step + 1) / phase.warmup) if phase.warmup else 1.0
    fall = phase.steps * phase.decay
    # Counted with the current step, so the last step has rate lr / fall and not 0.
    remaining = phase.steps - step
    factor = warm * (min(1.0, remaining / fall) if fall else 1.0)
    return group.lr * (phase.lr_scale * factor)


def _update(optimiser: torch.optim.AdamW, group: Group, rate: float) -> None:
    """Clip the gradients of a group and update its parameters."""
    settings: dict[str, Any] = optimiser.param_groups[0]
    norm = nn.utils.clip_grad_norm_(settings["params"], group.clip)
    settings["lr"] = rate
    # `norm` is the norm before clipping. NaN gradients would enter the moments of Adam
    # and stay there, so the update is skipped.
    if torch.isfinite(norm):
        optimiser.step()
    # None and not zero: AdamW applies weight decay to parameters with zero gradients.
    optimiser.zero_grad(set_to_none=True)


def _over_ranks(rows: list[dict[str, float]], team: Team) -> dict[str, float]:
    """Return mean losses and summed counts over the batches of all ranks."""
    # A batch lacks the loss of a modality without targets, so sums and counts are
    # reduced separately, in one message.
    losses = [[row[name] for row in rows if name in row] for name in LOSSES]
    numbers = [sum(values) for values in losses] + [len(values) for values in losses]
    sizes = [sum(row[name] for row in rows) for name in ("windows", "tokens")]
    sizes.append(sum(not np.isfinite(row["loss"]) for row in rows))
    totals = team.sums([float(number) for number in (*numbers, *sizes)])
    parts = zip(LOSSES, totals, totals[len(LOSSES) :], strict=False)
    means = {name: total / count for name, total, count in parts if count}
    names = ("windows", "tokens", "not_finite")
    return means | dict(zip(names, totals[-len(names) :], strict=True))


def batch_loss(
    net: OmniMouse, batch: Batch, phase: Phase, precision: Precision
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch, and its parts as plain numbers."""
    device, config = batch.windows.neuron_ids.device, net.config
    is_bf16 = computes_in_bf16(device.type, precision)
    with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
        video = None if batch.video is None else net.encode_video(batch.video, batch.layout)
        context = net.encode(batch.windows, batch.layout, video)
        rates = predicted = None
        if batch.rates is not None:
            rates, _ = net.decode_responses(batch.windows, batch.layout, context)
        if batch.behavior is not None:
            predicted, _ = net.decode_behavior(context)
    # The heads return float32, and the losses stay in it, outside of autocast. Without any
    # recorded target, the batch changes nothing.
    total, parts = torch.zeros((), device=device), dict[str, float]()
    if rates is not None and batch.rates is not None:
        rates, targets = _recorded(rates, batch.rates, batch.scored)
        if targets.numel():
            loss = poisson_loss(rates, targets, config.poisson_eps, config.response_loss_clamp)
            total, parts["response_loss"] = total + loss, float(loss.detach())
    if predicted is not None and batch.behavior is not None:
        predicted, targets = _recorded(predicted, batch.behavior)
        if targets.numel():
            loss = behavior_loss(predicted, targets, config.behavior_loss_clamp)
            total = total + phase.behavior_weight * loss
            parts["behavior_loss"] = float(loss.detach())
    return total, parts


def _recorded(
    predicted: Tensor, targets: Tensor, scored: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return predictions and targets of the cells that have a recorded value."""
    used = torch.isfinite(targets)
    if scored is not None:
        used &= scored
    # Without missing cells, skip the copy of indexing.
    if used.all():
        return predicted, targets
    return predicted[used], targets[used]


def with_epochs(config: TrainConfig, sessions: list[TrainingSession], team: Team) -> TrainConfig:
    """Return the config with epochs converted into steps.

    A phase ends after its epochs if this is sooner than its steps. An epoch is as long
    as that of the longest rank (official config).

    Raises
    ------
    ValueError
        A phase has epochs, and sampling is not balanced.
    """
    if config.sampling != "balanced":
        if any(phase.epochs for phase in config.phases):
            raise ValueError("epochs are counted under sampling: balanced alone.")
        return config
    counts = [len(source.starts) for source in sessions]

    def ended(phase: Phase) -> Phase:
        if phase.epochs is None:
            return phase
        # The maximum over ranks, because all ranks take the same number of steps; the
        # shorter ones repeat their windows.
        batches = phase.epochs * max(team.gather(epoch_batches(counts, phase.batch)))
        steps = min(phase.steps, max(1, batches // phase.accumulate))
        return replace(phase, steps=steps, epochs=None)

    return replace(config, phases=tuple(ended(phase) for phase in config.phases))


# -- compile the parts of the net whose shapes do not depend on the mask
def compile_blocks(net: OmniMouse, backend: str = "inductor") -> None:
    """Compile blocks in place; compilation happens when a block first runs.

    Parameter names do not change.
    """
    for name, module in net.named_modules():
        # Module.compile, unlike torch.compile(module), adds no prefix `_orig_mod.` to parameter
        # names, so checkpoints stay readable.
        if isinstance(module, HieraBlock):
            module.compile(dynamic=False, backend=backend)
        elif name.endswith("feed_forward"):
            # The number of tokens varies: let torch decide when to use dynamic shapes.
            module.compile(backend=backend)


# -- run the batches of a step in parallel, one CPU thread per batch
Item = TypeVar("Item")
Row = TypeVar("Row")


def are_independent(config: TrainConfig, device: torch.device) -> bool:
    """Return True if batches can be computed in parallel on several CPU threads.

    Not possible with dropped paths: one generator draws them for all batches, in the
    order in which layers run. Compiled blocks already use all cores.
    """
    net = config.model
    drops_paths = net.drop_path_rate > 0 or net.hiera.drop_path_rate > 0
    is_plain = not drops_paths and not config.compile
    return device.type == "cpu" and torch.get_num_threads() > 1 and is_plain


def parallel_gradients(
    forward: Callable[[Item], tuple[Tensor, Row]],
    batches: Sequence[Item],
    parameters: Sequence[Tensor],
) -> list[Row]:
    """Run forward and backward passes of batches, one batch per thread.

    Parameters
    ----------
    forward
        Function from a batch to its loss and its row of the log. The rows are returned
        in the order of the batches.
    parameters
        Parameters to which gradients are added, as `backward` does; frozen ones are
        skipped.
    """
    trained = [p for p in parameters if p.requires_grad]

    def learn(batch: Item) -> tuple[Row, list[Tensor | None]]:
        loss, row = forward(batch)
        # With a frozen core, a loss may depend on no trained parameter.
        if not loss.requires_grad:
            return row, [None] * len(trained)
        # autograd.grad returns gradients; backward() would add them to `.grad` in the
        # order in which threads finish, and floating-point sums depend on order.
        return row, list(torch.autograd.grad(loss, trained, allow_unused=True))

    # The pool size is read before torch is limited to one thread per operation.
    pool = ThreadPoolExecutor(torch.get_num_threads(), "batch")
    with torch_threads(1), pool:
        learned = list(pool.map(learn, batches))
    for _, gradients in learned:
        for parameter, gradient in zip(trained, gradients, strict=True):
            if gradient is None:
                continue
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient
    return [row for row, _ in learned]


# -- export: a checkpoint of this project, or the published format ----------------------
# The published format is one file `rank_<r>.ckpt` per process, with tensors and plain
# containers only, so that torch's restricted unpickler can read it. The official loader
# finds the weights by the same names.
SHARDS = "rank_*.ckpt"
"""Files of the published format."""


def export_run(run: Path, path: Path) -> None:
    """Write the averaged weights of a run, or official shards (`Family.export`).

    A path that ends with .safetensors becomes a checkpoint of this project, with data
    for the model card; any other a folder in the published format.
    """
    if run.match(SHARDS) or any(run.glob(SHARDS)):
        official = read_official(run)
        OmniMouseCheckpoint.of_network(official.build(), assumed=official.assumed).save(path)
        return
    settings = run_record(run)
    config = replace(config_from(settings.tree), **settings.shared)
    if path.suffix != ".safetensors":
        write_official(run, path, config)
        return
    # The demo is trained on one recording and shown on another of the same neurons.
    renames = config.notes.get("renames", {})
    checkpoint = read_checkpoint(run / MODEL).renamed(renames)
    # How the run was trained, without steps and hours.
    card = checkpoint.card | {
        "trained_on": [choice.mouse for choice in config.sessions],
        "same_neurons": renames,
        "targets": [f"{phase.name}: {phase.targets}" for phase in config.phases],
        "phases": [asdict(phase) for phase in config.phases],
    }
    context: dict[str, Tensor] = {}
    for choice, place in zip(config.sessions, settings.places, strict=False):
        if choice.context:
            net = checkpoint.build().requires_grad_(False)
            session = open_session(place)
            # A fit belongs to the neurons: it is stored under the key of the model.
            session = replace(session, id=renames.get(session.id, session.id))
            context |= fit_context(TransformerPredictor(net, path.stem), session)
    replace(checkpoint, card=card, context=context).save(path)


def write_official(out: Path, folder: Path, config: TrainConfig) -> None:
    """Write the last save of the run in `out` as `folder/rank_<r>.ckpt`.

    The weights are averaged if the run averages; the states of the optimisers are those
    of the run. The random states are the current ones, which our runs do not use.

    Raises
    ------
    CheckpointError
        The run has no save, or its architecture is not a released one. The format does
        not store the architecture, so a reader could not build the net.
    """
    saved = last_state(out)
    if saved is None:
        raise CheckpointError(f"{out} holds no saved run; train first.")
    _check_released(config.model)
    states = [read_state(path) for path in rank_files(saved)]
    sessions = {key: n for state in states for key, n in state["sessions"].items()}
    # States are plain values, as the restricted unpickler needs: NumPy's array becomes a list.
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002  # the official loader's
    random_states = {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, np.asarray(numbers).tolist(), *rest),
        "python": random.getstate(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for rank, state in enumerate(states):
        shard = {
            "epoch": 0,
            "step": state["step"],
            "state_dict": state["average"] or state["net"],
            # Each file lists all sessions, so that rank 0's file alone is sufficient to
            # find which neurons exist.
            "session_map": {
                key: {
                    "n_neurons": n,
                    "animal_id": state["animals"][key],
                    "on_rank": key in state["sessions"],
                }
                for key, n in sessions.items()
            },
            "rank_optimizer_state_dict": state["session"],
            "rng_state": random_states,
        }
        # As in the released files, only rank 0 has the optimiser of the core.
        if state["core"] is not None:
            shard["shared_optimizer_state_dict"] = state["core"]
        write_pickle(folder / f"rank_{rank}.ckpt", shard)


def _check_released(config: OmniMouseConfig) -> None:
    """Raise CheckpointError unless a reader can infer the architecture."""
    # A reader infers these two fields from the shapes of the weights, and takes all others
    # from the table of sizes.
    groups, width = config.num_response_latent_groups, config.d_embedding
    own: dict[str, Any] = {"num_response_latent_groups": groups, "d_embedding": width}
    if config not in [replace(size, **own) for size in SIZES.values()]:
        raise CheckpointError(
            "Released checkpoints do not store the architecture, so only released sizes "
            f"({', '.join(SIZES)}) can be exported in this format. model.safetensors has "
            "this one."
        )
