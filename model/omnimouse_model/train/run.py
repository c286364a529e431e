"""State of a training run, with start values of the run and of each phase.

The state is the net, its average and the optimisers. `checkpoints` saves it and resumes
a run.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.initialisation import (
    initialise,
    quiet_residuals,
    set_mean_rates,
    set_neuron_embeddings,
)
from omnimouse_model.nets.omnimouse.network import OmniMouse, check_size
from omnimouse_model.predict.baselines.rules import mean_rates
from omnimouse_model.train.batches import (
    TrainingSession,
    first_recordings,
    sessions_of_phase,
)
from omnimouse_model.train.config import Group, ParameterGroup, Phase, TrainConfig
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.initialisation.embeddings import (
    fit_batches,
    tuned_embeddings,
)
from omnimouse_model.train.initialisation.population_attention import (
    set_behavior_attention_head,
    set_population_attention_heads,
)


@dataclass(slots=True)
class Run:
    """State of a training run on one rank.

    Attributes
    ----------
    net
        The core and the rank's own sessions.
    average
        Net with the moving average of the weights, or None.
    counts
        session key -> number of neurons, for the sessions of all ranks.
    optimisers
        "core" and "session": the optimisers of the two parameter groups.
    seconds
        Duration of training so far, including the time before it was resumed.
    best
        Best validation score so far, and its step.
    skipped
        Number of consecutive steps with a loss that was not finite.
    """

    net: OmniMouse
    average: OmniMouse | None
    counts: dict[str, int]
    optimisers: dict[str, torch.optim.AdamW]
    device: torch.device
    step: int = 0
    seconds: float = 0.0
    best: tuple[float, int] = (float("-inf"), 0)
    skipped: int = 0

    @property
    def result(self) -> OmniMouse:
        """Net with averaged weights if the run averages, else the net."""
        return self.average or self.net

    def group(self, name: ParameterGroup) -> list[Tensor]:
        """Return the parameters of one group."""
        parameters: list[Tensor] = self.optimisers[name].param_groups[0]["params"]
        return parameters


@dataclass(frozen=True, slots=True)
class Origin:
    """Start values from an existing model, instead of values drawn by the config.

    Attributes
    ----------
    animals
        session key -> animal, for all sessions of earlier and of this training. They
        determine the animal vectors of the net.
    fill
        Function that writes the start values into a new net; not called for a run that
        is resumed.
    is_trained
        Function from a parameter's name to whether it is trained; others are frozen.
    """

    animals: dict[str, str]
    fill: Callable[[OmniMouse], None]
    is_trained: Callable[[str], bool] = lambda name: True


def start_run(
    config: TrainConfig,
    sessions: list[TrainingSession],
    device: torch.device | str,
    team: Team,
    origin: Origin | None = None,
) -> Run:
    """Create net, moving average and optimisers, without start values.

    Raises
    ------
    ValueError
        The config needs one process, and the team has several.
    """
    _check_team(config, team)
    # The core holds one vector per animal of the whole run, so every rank needs the
    # animals of all ranks before it creates its net.
    own = {s.key: s.session.n_neurons for s in sessions}
    names = {s.key: s.session.animal_id or s.key for s in sessions}
    counts: dict[str, int] = {}
    animals: dict[str, str] = {}
    for ranks_counts, ranks_names in team.gather((own, names)):
        counts |= ranks_counts
        animals |= ranks_names
    if origin is not None:
        animals = origin.animals
    check_size(config.model, own, "The config")
    net = OmniMouse(config.model, own, animals).to(device)
    average = None
    if config.average:
        average = OmniMouse(config.model, own, animals).to(device)
        # Never trained: without gradients, and without dropped paths in validation.
        average.requires_grad_(False).eval()
    if origin is not None:
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(origin.is_trained(name))
    core, session = split_parameters(net, config.animals)
    return Run(
        net=net,
        average=average,
        counts=counts,
        optimisers={
            "core": _optimiser(core, config.core),
            "session": _optimiser(session, config.session),
        },
        device=torch.device(device),
    )


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


def draw_start(run: Run, config: TrainConfig, sessions: list[TrainingSession], team: Team) -> None:
    """Draw the start values of net and average; all ranks get the main rank's core."""
    sessions = first_recordings(sessions_of_phase(sessions, config.phases[0]))
    # Start values are drawn on the CPU, so that they do not depend on the device.
    net = run.net.cpu()
    # A seed per rank, so that sessions of different ranks start with different vectors.
    generator = torch.Generator().manual_seed(config.seed + team.rank)
    initialise(net, generator)
    if config.smooth_positions:
        set_smooth_positions(net, generator)
    if config.motion_energy:
        set_motion_energy(net, _some_video(sessions[0]))
    if config.quiet_residuals:
        quiet_residuals(net)
    if config.mean_rates:
        for source in sessions:
            set_mean_rates(net, source.key, mean_rates(source.session))
    if config.tuned_embeddings:
        values = tuned_embeddings(
            sessions, config.model.d_embedding, config.phases[0].targets, config.seed
        )
        for key, embeddings in values.items():
            set_neuron_embeddings(net, key, embeddings)
    net.to(run.device)
    # Ranks have drawn different cores, and only gradients are averaged later.
    team.copy_from_main(run.group("core"))
    if run.average is not None:
        run.average.load_state_dict(net.state_dict())


def set_start_values(run: Run, origin: Origin) -> None:
    """Set net and average to the start values of an existing model."""
    origin.fill(run.net)
    if run.average is not None:
        run.average.load_state_dict(run.net.state_dict())


def begin_phase(run: Run, config: TrainConfig, sessions: list[TrainingSession]) -> None:
    """Apply the start values of a phase, before its first step.

    A phase can start from the averaged weights, and with attention heads that are
    fitted to activations of the present net.
    """
    phase, step = config.phase_at(run.step)
    heads, behavior_head = phase.population_heads, phase.behavior_head
    fits_heads = heads is not None or behavior_head is not None
    if step or not (fits_heads or phase.from_average):
        return
    if run.average is not None:
        run.net.load_state_dict(run.average.state_dict())
    if fits_heads:
        read = first_recordings(sessions_of_phase(sessions, phase))
        _fit_attention_heads(run, config, phase, read)
    # Moments of Adam belong to the replaced weights.
    for optimiser in run.optimisers.values():
        optimiser.state.clear()
    if run.average is not None:
        run.average.load_state_dict(run.net.state_dict())


def _fit_attention_heads(
    run: Run, config: TrainConfig, phase: Phase, sessions: list[TrainingSession]
) -> None:
    """Set single attention heads to read the population or behaviour."""
    # On the CPU, like all start values.
    run.net.cpu()
    generator = torch.Generator().manual_seed(config.seed)
    cpu = torch.device("cpu")
    batches = fit_batches(sessions, phase, config.model, config.seed, cpu)
    # Dropped paths would add noise to the activations that the heads are fitted to.
    run.net.eval()
    if phase.population_heads is not None:
        set_population_attention_heads(run.net, batches, *phase.population_heads, generator)
    if phase.behavior_head is not None:
        set_behavior_attention_head(run.net, batches, phase.behavior_head, generator)
    run.net.to(run.device)


def _some_video(source: TrainingSession, count: int = 16) -> Tensor:
    """Return frames (count, 1, 60, height, width) of windows spread over a session."""
    indices = np.linspace(0, len(source.starts) - 1, count).astype(int)
    windows = [source.session.window(float(s)) for s in source.starts[indices]]
    return torch.from_numpy(np.stack([w.video for w in windows]))[:, None]


def split_parameters(
    net: nn.Module, animals: ParameterGroup = "session"
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters of the core and those of the sessions.

    `animals` is the group of the animal vectors. The table of the official recipe lists
    them with the sessions; the rule of the official optimiser ("without sess_params")
    puts them into the core.
    """
    own: tuple[str, ...] = ("sess_params.",)
    if animals == "session":
        own = (*own, "animal_params.")
    named = list(net.named_parameters())
    return (
        [p for name, p in named if not name.startswith(own)],
        [p for name, p in named if name.startswith(own)],
    )


def _optimiser(parameters: list[Tensor], group: Group) -> torch.optim.AdamW:
    # As in the official recipe, no parameter is exempt from weight decay.
    return torch.optim.AdamW(
        parameters,
        lr=group.lr,
        betas=group.betas,
        eps=group.eps,
        weight_decay=group.weight_decay,
        fused=True,
    )


# -- start values of the video encoder: smooth position codes, motion energy
FRAMES_PER_S = 30.0
PLACE_SCALE_PATCHES = 2.5
"""Distance in patches at which two smooth position codes become dissimilar."""
ORIENTATIONS = 4
WAVELENGTHS_PX = (13.0, 17.0, 23.0)
SPEED_HZ = 3.0
N_ENERGIES = 2 * ORIENTATIONS * len(WAVELENGTHS_PX)


def set_smooth_positions(net: OmniMouse, generator: torch.Generator) -> None:
    """Set the spatial codes of the video encoder to smooth codes of unit variance.

    From 0.02 the codes are a thousandth of the variance of the video tokens, and
    neurons need thousands of steps to find their receptive fields. Random Fourier
    features (Rahimi & Recht, 2007) make neighbouring places similar: a neuron can
    approach its receptive field by small steps.
    """
    codes = net.hiera.backbone.pos_embed_spatial
    _, rows, columns = net.config.hiera.grid
    place = torch.cartesian_prod(
        torch.arange(rows, dtype=torch.float32),
        torch.arange(columns, dtype=torch.float32),
    )
    dim = codes.shape[-1]
    waves = torch.randn(2, dim, generator=generator) / PLACE_SCALE_PATCHES
    phase = torch.rand(dim, generator=generator) * 2 * math.pi
    with torch.no_grad():
        # The mean square of a cosine is 1/2.
        codes.copy_(math.sqrt(2) * torch.cos(place @ waves + phase)[None])


def set_motion_energy(net: OmniMouse, clips: Tensor) -> None:
    """Start the video encoder as motion energy (Adelson & Bergen, 1985).

    The first channels of its patches become drifting Gabors in quadrature, in both
    directions. The feed-forward of the first block squares each and adds the pairs
    into the channels after them. All of these weights remain trainable.

    Parameters
    ----------
    clips
        (B, 1, frames, height, width) normalised video, to give every channel unit
        variance.

    Raises
    ------
    ValueError
        The encoder has too few channels or feed-forward units.
    """
    backbone = net.hiera.backbone
    patches, block = backbone.patch_embed["proj"], backbone.blocks[0]
    assert isinstance(patches, nn.Conv3d)
    assert patches.bias is not None
    gabors = drifting_gabors(patches.kernel_size)
    n_gabors, n_free = len(gabors), patches.out_channels - len(gabors)
    up, gate, down = (getattr(block.mlp, f"{name}_proj").weight for name in ("up", "gate", "down"))
    if n_free < N_ENERGIES or len(up) < 2 * n_gabors:
        raise ValueError(
            f"A start from motion energy needs {n_gabors + N_ENERGIES} channels and "
            f"{2 * n_gabors} hidden units; found {patches.out_channels}, {len(up)}."
        )
    energies = slice(n_gabors, n_gabors + N_ENERGIES)
    codes = backbone.pos_embed_spatial, backbone.pos_embed_temporal
    with torch.no_grad():
        patches.weight[:n_gabors, 0] = gabors
        # The energies come from the feed-forward alone.
        patches.weight[energies] = 0
        patches.bias[: energies.stop] = 0
        # The spectrum of natural video falls with frequency: without unit variance
        # fine Gabors would be weak.
        size = patches(clips)[:, :n_gabors].std(dim=(0, 2, 3, 4))
        patches.weight[:n_gabors] /= size[:, None, None, None, None]
        # Position codes in these channels would be squared with the Gabors.
        for code in codes:
            code[..., : energies.stop] = 0
        # Two units per Gabor give its exact square: silu(z) z + silu(-z) (-z) = z².
        for unit in range(2 * n_gabors):
            sign = 1.0 if unit < n_gabors else -1.0
            channel = unit % n_gabors
            for weight in (up, gate, down.T):
                weight[unit] = 0
            up[unit, channel] = gate[unit, channel] = sign
            # Neighbouring channels are a pair, whose squares are added.
            down[n_gabors + channel // 2, unit] = 0.5


def drifting_gabors(size: tuple[int, ...]) -> Tensor:
    """Gabors (48, frames, height, width); neighbours are quadrature pairs."""
    t, y, x = (torch.arange(n) - (n - 1) / 2 for n in size)
    # Tapered: otherwise a Gabor would respond to the edge of its patch.
    window = torch.einsum(
        "t,y,x->tyx", *(torch.cos(math.pi * a / (len(a) + 1)) ** 2 for a in (t, y, x))
    )
    y, x = y[None, :, None], x[None, None, :]
    gabors = []
    for wavelength in WAVELENGTHS_PX:
        # Twice as many angles as orientations: both directions of motion.
        for angle in torch.arange(2 * ORIENTATIONS) * (math.pi / ORIENTATIONS):
            along = x * angle.cos() + y * angle.sin()
            phase = 2 * math.pi * (along / wavelength - SPEED_HZ * t[:, None, None] / FRAMES_PER_S)
            envelope = window * torch.exp(-(x**2 + y**2) / (0.84 * wavelength) ** 2 * 2)
            for wave in (phase.cos(), phase.sin()):
                gabor = envelope * wave
                # The mean is removed: a Gabor must not respond to luminance.
                gabors.append(gabor - envelope * (gabor.sum() / envelope.sum()))
    return torch.stack(gabors)
