"""`omnimouse bench ndt`: held-out neurons and training steps of the transformer."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from omnimouse_app.cli.inputs import device_option, folder_option, repeated, threads_option
from tests.bench.benchmark import Row, benchmark, matmul_gflops
from tests.bench.peers.public_ndt import PublicNdt

if TYPE_CHECKING:
    import torch

    from omnimouse_model.data.session import Session
    from omnimouse_model.families.ndt.network import Ndt, NdtConfig
    from omnimouse_model.families.ndt.training import Batch

BINS, BIN_S = 100, 0.02
"""Trials of the public configuration: 2 s."""
BATCH, CHECKED, FIRST = 16, 4, 2
"""Trials per step, steps whose losses are compared, and steps that are not timed."""
RATE_HZ, SPREAD = 2.0, 1.0
"""Rates of neurons are lognormal, with this median and standard deviation of the log.
"""
REGIONS = 8
HELD_OUT_ON_CPU = 24


@benchmark(
    "ndt",
    title="Neural data transformer on {device}",
    columns=(
        *("name", "neurons", "value", "unit", "calibrated_gflop", "floor_gflop"),
        *("ratio", "difference"),
    ),
    gflops=True,
)
@repeated(
    *("--neurons", "sizes"),
    help="Neurons of the session.",
    default=(300, 1000),
    show_default=True,
    type=click.IntRange(min=REGIONS),
)
@click.option(
    "--held-out",
    type=click.IntRange(min=1),
    help=f"Neurons that are left out in turn.  [default: all; {HELD_OUT_ON_CPU} on a CPU]",
)
@click.option("--trials", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--steps", default=8, show_default=True, type=click.IntRange(min=1))
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=1))
@folder_option("--mtm", help="Also time this checkout of IBL_MtM_model, with equal weights.")
@threads_option(2)
@device_option
def command(
    sizes: tuple[int, ...],
    held_out: int | None,
    trials: int,
    steps: int,
    repeats: int,
    mtm: Path | None,
    device: str,
) -> list[Row]:
    """Time the evaluation neuron by neuron, and training steps, in fp32.

    The network has the public size (12 M parameters), random weights and simulated
    Poisson trials of 2 s. An evaluation gives bits per spike alone, without figures
    and R². `calibrated_gflop` is the time multiplied by the matmul rate of the
    machine; `floor_gflop` counts the multiplications and additions of all products
    that are needed. With --mtm, `ratio` is how many times longer the public code
    takes, and `difference` the largest one of its bits per spike; for steps, that of
    the losses of equal batches without dropout, relative to them.
    """
    import torch

    from omnimouse_model.families.ndt.network import Ndt, NdtConfig
    from omnimouse_model.predict.devices import resolve_device

    place = resolve_device(device)
    config = NdtConfig(n_bins=BINS, block_dropout=0.4, has_session=False, leaks=mtm is not None)
    rate = matmul_gflops("float32", place.type)
    rows: list[Row] = []
    for count in sizes:
        click.echo(f"{count:,} neurons …", err=True)
        session = _session(count, trials + BATCH * (steps + FIRST))
        spikes = _counts(session, trials).to(place)
        torch.manual_seed(0)
        net = Ndt(config, {session.id: count}).eval().to(place)
        n_out = held_out or (HELD_OUT_ON_CPU if place.type == "cpu" else count)
        n_out = min(n_out, count)
        times, differences = _measured(session, net, spikes, n_out, steps, repeats, mtm)
        shared: Row = {"neurons": count, "held_out": n_out, "trials": trials}
        shared |= {"device": str(place), "silent_share": _silent_share(spikes)}
        floors = {
            "evaluation": _evaluation_flop(config, spikes[..., :n_out], count),
            # A backward pass costs two forward passes.
            "step": 3 * BATCH * _forward_flop(config, count),
        }
        for name, values in times.items():
            kind = name.split("_")[-1]
            per = n_out if kind == "evaluation" else 1
            row: Row = {"name": f"{name}_ms", "value": 1000 * median(values) / per}
            row["unit"] = "ms per neuron" if kind == "evaluation" else "ms"
            row["calibrated_gflop"] = median(values) * rate / per
            row["floor_gflop"] = floors[kind] / 1e9 / per
            row["n"] = len(values)
            if name.startswith("public"):
                row["ratio"] = median(values) / median(times[f"ndt_{kind}"])
                row["difference"] = differences[kind]
            rows.append(row | shared)
    return rows


# -- data ------------------------------------------------------------------------------
def _session(count: int, n_trials: int) -> "Session":
    """Return a recording of Poisson spikes; the first trials are train trials."""
    from omnimouse_model.data.open import open_session

    draw = np.random.default_rng(0)
    trial_s = BINS * BIN_S
    stop_s = trial_s * (n_trials + 1)
    rates = draw.lognormal(np.log(RATE_HZ), SPREAD, count)
    numbers = draw.poisson(rates * stop_s)
    starts = trial_s * np.arange(n_trials) + trial_s / 2
    arrays = {
        "id": "poisson",
        "spike_times": draw.random(numbers.sum()) * stop_s,
        "spike_unit": np.repeat(np.arange(count), numbers),
        "stop_s": stop_s,
        "unit_ids": np.arange(count),
        "area": np.array([f"R{k % REGIONS}" for k in range(count)]),
        "trial_start": starts,
        "trial_stop": starts + trial_s,
        "trial_tier": np.array(["train"] * n_trials),
    }
    return open_session(arrays)


def _counts(session: "Session", n_trials: int) -> "torch.Tensor":
    """Return the counts of the last trials, float32 (trial, bin, neuron)."""
    import torch

    starts = session.window_starts("train", 1, spec=_spec())[-n_trials:]
    windows = [session.window(float(start), _spec()).responses for start in starts]
    return torch.from_numpy(np.stack(windows).astype(np.float32))


def _spec() -> Any:
    from omnimouse_model.data.window_spec import WindowSpec

    return WindowSpec(BINS * BIN_S, 1 / BIN_S, responses="count", align="trial")


def _silent_share(spikes: "torch.Tensor") -> float:
    """Return the share of pairs of neuron and trial without a spike."""
    return float((spikes.sum(1) == 0).float().mean())


# -- times -----------------------------------------------------------------------------
def _measured(
    session: "Session",
    net: "Ndt",
    spikes: "torch.Tensor",
    n_out: int,
    steps: int,
    repeats: int,
    mtm: Path | None,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of evaluations and of steps, and differences of programs."""
    # The first evaluation chooses kernels and allocates memory.
    if mtm is None:
        own = [_evaluation(net, spikes, n_out)[0] for _ in range(1 + repeats)]
        return {
            "ndt_evaluation": own[1:],
            "ndt_step": _step_seconds(session, net, steps),
        }, {}
    draw = np.random.default_rng(0)
    batches = [
        spikes[draw.integers(len(spikes), size=BATCH)] for _ in range(max(CHECKED, steps + FIRST))
    ]
    own, other, differences = [], [], []
    with PublicNdt(mtm, net, list(_regions(session))) as public:
        # In turn, so that both see the same load of the machine.
        for _ in range(1 + repeats):
            seconds, bits = _evaluation(net, spikes, n_out)
            own.append(seconds)
            begin = perf_counter()
            public_bits = public.co_smoothing(spikes, n_out)
            other.append(perf_counter() - begin)
            # Neurons without spikes have no value in either program.
            np.testing.assert_array_equal(np.isnan(bits), np.isnan(public_bits))
            differences.append(float(np.nanmax(abs(bits - public_bits))))
        drawn, losses = public.drawn_batches(session.id, batches[:CHECKED])
    own_losses = np.array(list(_losses(net, drawn)))
    relative = abs(own_losses - losses) / abs(np.array(losses))
    with PublicNdt(mtm, net, list(_regions(session))) as public:
        public_steps = public.step_seconds(batches[: steps + FIRST])[FIRST:]
    return {
        "ndt_evaluation": own[1:],
        "public_evaluation": other[1:],
        "ndt_step": _step_seconds(session, net, steps),
        "public_step": public_steps,
    }, {"evaluation": max(differences), "step": float(relative.max())}


def _regions(session: "Session") -> np.ndarray:
    area = session.units.area
    assert area is not None
    return area


def _evaluation(net: "Ndt", spikes: "torch.Tensor", n_out: int) -> tuple[float, np.ndarray]:
    """Return the seconds of the evaluation of the first neurons, and their bits."""
    from omnimouse_model.families.ndt.predictor import one_neuron_out
    from tests.held_out_bits import bits_of

    (name,) = net.sessions
    begin = perf_counter()
    # The rates lie in memory of the CPU: a GPU has finished.
    rates = one_neuron_out(net, name, spikes, np.arange(n_out))
    bits = bits_of(rates, spikes[..., :n_out].cpu().numpy()).per_neuron
    return perf_counter() - begin, bits


def _step_seconds(session: "Session", net: "Ndt", steps: int) -> list[float]:
    """Return the seconds of steps of our training, with the public settings."""
    from omnimouse_model.families.ndt.training import NdtTrainConfig, NdtTraining, trial_session
    from omnimouse_model.progress import CallbackJob
    from omnimouse_model.training.loop import train

    device = next(net.parameters()).device
    config = NdtTrainConfig(
        seed=0,
        model=net.config,
        spec=_spec(),
        causal_ratio=0.6,
        batch=BATCH,
        steps=steps + FIRST,
        clip=None,
        reduction="sum",
        validate_every=10**6,
    )
    moments: list[float] = []
    with TemporaryDirectory(prefix="omnimouse-bench-") as folder:
        train(
            NdtTraining,
            config,
            [trial_session(session, _spec())],
            Path(folder),
            device=device,
            job=CallbackJob(lambda *_: moments.append(perf_counter())),
        )
    # The first report is before the first step.
    return np.diff(moments).tolist()[FIRST:]


# -- losses ----------------------------------------------------------------------------
def _losses(net: "Ndt", batches: "list[Batch]") -> Iterator[float]:
    """Train a copy of a network without dropout; yield the loss of each step."""
    from dataclasses import replace

    from omnimouse_model.families.ndt.network import Ndt, poisson_loss
    from omnimouse_model.families.ndt.training import one_cycle

    copy = Ndt(replace(net.config, dropout=0.0, block_dropout=0.0), net.sessions)
    copy = copy.to(batches[0].counts.device)
    copy.load_state_dict(net.state_dict())
    optimiser, schedule = one_cycle(copy.parameters(), len(batches))
    for batch in batches:
        optimiser.zero_grad()
        output = copy(batch.seen, batch.session, batch.scheme)
        loss = poisson_loss(output, batch.counts, batch.scored, is_sum=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        yield float(loss.detach())


# -- the floor -------------------------------------------------------------------------
def _evaluation_flop(config: "NdtConfig", predicted: "torch.Tensor", count: int) -> float:
    """Return the FLOPs of one pass per neuron and trial with a spike of it.

    The whole population is embedded and read once; a pass has the blocks alone, and
    reads one neuron.
    """
    n_passes = int((predicted.sum(1) > 0).sum())
    once = _forward_flop(config, count) * len(predicted)
    return once + n_passes * (_block_flop(config) + 2 * BINS * config.d_model)


def _forward_flop(config: "NdtConfig", count: int) -> float:
    """Return the FLOPs of a trial; a multiply-add counts as 2."""
    inner = config.mult * config.d_token
    embedded = count * config.d_token + inner * (config.d_token + config.d_model)
    return 2 * BINS * (embedded + config.d_model * count) + _block_flop(config)


def _block_flop(config: "NdtConfig") -> float:
    d, tokens = config.d_model, BINS + config.has_prompt + config.has_session
    dense = 4 * d * d + 2 * d * config.d_inner
    return config.n_layers * (2 * tokens * dense + 4 * tokens**2 * d)
