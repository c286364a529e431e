"""Compare the paper's baselines with folders of outputs of the public code, case by case.

usage: python -m tests.conformance.baselines DIR

DIR has sub-folders at any depth. A folder with config.json and cases.json is one model:
its weights with the public names, inputs, cases and expected outputs, in the form of the
baselines' parity fixtures. Prints one line per case with its largest error, and exits
non-zero where a case is out of tolerance.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from omnimouse_model.families.cebra.model import (
    CebraConfig,
    Pairs,
    Samples,
    embed,
    nearest,
    new_networks,
    new_solver,
    reach,
    solve,
)
from omnimouse_model.families.dwiseneuro.network import (
    DwiseConfig,
    DwiseNetwork,
    Sliding,
    cut_mix,
    distillation_weights,
    mice_poisson,
    stacked_input,
)
from omnimouse_model.families.latent_zig import network as density
from omnimouse_model.families.latent_zig.network import (
    LatentConfig,
    ZigConfig,
    ZigNetwork,
    theta_and_q,
)
from omnimouse_model.families.parts.clips import poisson_sum
from omnimouse_model.families.parts.factorised import (
    CoreConfig,
    PlacesConfig,
    ReadoutConfig,
    module_key,
    source_grid,
)
from omnimouse_model.families.poyo_calcium.network import Item, PoyoConfig, PoyoNetwork, Task
from omnimouse_model.families.sensorium_factorised.network import (
    FactorisedConfig,
    FactorisedNetwork,
    ShifterConfig,
)
from omnimouse_model.metrics import correlation
from omnimouse_model.training.loop import seeded
from tests.conformance.line import Line, run

VALUES, RELATIVE = 1e-4, 1e-5
"""Absolute tolerance of values, and relative one of likelihoods and losses."""
EXACT = 0.5
KL_WEIGHT = 5
"""Weight of the divergence in the public objective."""
BATCH_NORM_MOMENTUM = 0.7


class Unknown(ValueError):
    """An option that this project's network does not have."""


@dataclass(frozen=True)
class Folder:
    """One model: config, weights, inputs and cases."""

    path: Path
    name: str

    def json(self, name: str) -> Any:
        """Return the content of a JSON file."""
        return json.loads((self.path / name).read_text())

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of a file."""
        return load_file(self.path / name)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Settings of the constructor."""
        content: dict[str, Any] = self.json("config.json")
        return content

    @cached_property
    def stored(self) -> dict[str, Tensor]:
        """Inputs of all cases."""
        return self.tensors("inputs.safetensors")

    @property
    def state(self) -> dict[str, Tensor]:
        """Weights with the public names."""
        return self.tensors("state_dict.safetensors")

    def inputs(self, case: dict[str, Any]) -> dict[str, Tensor]:
        """Return the inputs of a case."""
        return {key: self.stored[name] for key, name in case["inputs"].items()}

    def compared(
        self,
        case: dict[str, Any],
        found: dict[str, Tensor],
        tolerances: dict[str, tuple[float, float]] | None = None,
        default: tuple[float, float] = (VALUES, 0.0),
    ) -> Line:
        """Return the errors of a case; every expected tensor must be computed.

        `tolerances` has absolute and relative tolerance by the first part of a name.
        """
        line = Line(f"{self.name}: {case['name']}")
        for key, value in self.tensors(case["expected"]).items():
            if key not in found:
                line.faults.append(f"{key} is not computed")
                continue
            is_number = value.is_floating_point()
            atol, rtol = (tolerances or {}).get(key.split(".")[0], default)
            own = found[key].reshape(value.shape) if value.numel() == 1 else found[key]
            line.add(key, own, value, atol if is_number else EXACT, rtol if is_number else 0)
        return line


def _numbered(inputs: dict[str, Any], prefix: str) -> list[Any]:
    """Return the inputs whose names are a prefix and a number, in the order of the numbers."""
    keys = [key for key in inputs if key.startswith(prefix)]
    return [inputs[key] for key in sorted(keys, key=lambda key: int(key.removeprefix(prefix)))]


def _only(config: dict[str, Any], allowed: dict[str, Any]) -> None:
    """Raise `Unknown` for options with values that the networks do not have."""
    for key, value in allowed.items():
        if config.get(key, value) != value:
            raise Unknown(f"{key} is {config[key]!r}; only {value!r} is known")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def core_of(config: dict[str, Any]) -> CoreConfig:
    """Return the config of a core from the public one."""
    _only(
        config,
        {"input_regularizer": "LaplaceL2norm", "laplace_padding": None}
        | ({"final_nonlin": True} if config["layers"] == 1 else {}),
    )
    n, widths = config["layers"], config["hidden_channels"]
    hidden = _pair(config["spatial_hidden_kernel"])
    return CoreConfig(
        channels=config["input_channels"],
        widths=tuple(widths) if isinstance(widths, list) else (widths,) * n,
        spatial=(_pair(config["spatial_input_kernel"]), *[hidden] * (n - 1)),
        temporal=(config["temporal_input_kernel"], *[config["temporal_hidden_kernel"]] * (n - 1)),
        stride=config["stride"],
        is_padded=config["padding"],
        has_bias=config["bias"],
        has_norm=config["batch_norm"],
        nonlinearity=config["hidden_nonlinearities"],
        smooth_space=float(config["gamma_input_spatial"]),
        smooth_time=float(config["gamma_input_temporal"]),
        momentum=config.get("momentum", BATCH_NORM_MOMENTUM),
    )


def readout_of(config: dict[str, Any]) -> ReadoutConfig:
    """Return the config of a readout from the public one."""
    _only(config, {"share_features": False, "share_grid": False, "gamma_grid_dispersion": 0.0})
    grid = config["grid_mean_predictor"]
    return ReadoutConfig(
        places=None
        if grid is None
        else PlacesConfig(
            grid["input_dimensions"],
            grid["hidden_layers"],
            grid["hidden_features"],
            grid["final_tanh"],
        ),
        spread=config["gauss_type"],
        has_bias=config["bias"],
        first_place=config["init_mu_range"],
        first_spread=config["init_sigma"],
        penalty=config["gamma_readout"],
    )


# -- Sensorium-2023 factorised ---------------------------------------------------------
def factorised_lines(folder: Folder) -> Iterator[Line]:
    """Yield the errors of the cases of a factorised model."""
    config, shifter = folder.config, folder.config["shifter"]
    net = FactorisedNetwork(
        FactorisedConfig(
            core_of(config["core"]),
            readout_of(config["readout"]),
            None
            if shifter is None
            else ShifterConfig(
                shifter["input_channels_shifter"],
                shifter["hidden_channels_shifter"],
                shifter["shift_layers"],
            ),
            config["elu_offset"],
        ),
        config["n_neurons"],
    )
    net.load_state_dict(folder.state)
    for case in folder.json("cases.json")["cases"]:
        inputs = folder.inputs(case)
        if case.get("kind") == "source_grid":
            found = {
                f"source_grid.{key.removeprefix('cell_motor_coordinates.')}": source_grid(
                    value[:, : net.config.readout.places.coordinates]
                    if net.config.readout.places
                    else value[:, :2]
                )
                for key, value in inputs.items()
            }
        else:
            # Without running averages, the statistics are those of the batch.
            net.train("batch_norm" in case)
            found = _factorised(net, case, inputs)
            # An output near 0 has a large logarithm: that of the given output counts.
            output = folder.tensors(case["expected"])["output"]
            responses = inputs["responses"].transpose(1, 2)[:, -output.shape[1] :]
            found["loss.poisson_sum"] = poisson_sum(output, responses)
        yield folder.compared(
            case, found, {"loss": (0.0, RELATIVE), "regularizer": (VALUES, RELATIVE)}
        )


@torch.no_grad()
def _factorised(
    net: FactorisedNetwork, case: dict[str, Any], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    video, session, pupil = inputs["video"], case["session"], None
    if "behavior" in inputs:
        flat = inputs["behavior"][..., None, None].expand(-1, -1, -1, *video.shape[-2:])
        video = torch.cat([video, flat], 1)
    found: dict[str, Tensor] = {}

    def keep(_net: Any, _inputs: Any, out: Tensor) -> None:
        found["core.layer0.item0"] = out[:1, :, :3]

    first = net.core.features[0].register_forward_hook(keep)
    maps = net.core(video)
    first.remove()
    readout, n_frames = net.readout_of(session), maps.shape[2]
    noise = inputs["noise"][:, :, 0] if "noise" in inputs else None
    places = readout.places()[None]
    if noise is not None:
        places = readout.draw_places(noise).clamp(-1, 1)
        found["grid.sampled"] = places[:, :, None]
    if case["shifter"]:
        pupil = inputs["pupil_center"]
        shift = net.shift(pupil[:, :, -n_frames:], session)
        places = places.clamp(-1, 1) + shift.flatten(0, 1)[:, None]
        found |= {"shift": shift, "grid.shifted.item0": places[:n_frames]}
    space, time = net.core.penalties()
    return found | {
        "core.features": maps,
        "grid.mu": readout.places(),
        "outside_fraction": (places[:n_frames].abs() > 1).any(-1).float().mean(),
        "output": net.rates(maps, session, pupil, noise=noise),
        "regularizer.core_spatial": space,
        "regularizer.core_temporal": time,
        "regularizer.readout": readout.penalty(),
    }


# -- latent zero-inflated gamma --------------------------------------------------------
def zig_lines(folder: Folder) -> Iterator[Line]:
    """Yield the errors of the cases of a zero-inflated gamma model."""
    config = folder.config
    _only(config, {"decoder": None, "dropout": "across_time"})
    encoder, position = config["encoder"], config["position_features"]
    latent = None
    if config["latent"]:
        _only(encoder, {"mice_dim": 0})
        layers = tuple(position["layer_sizes"]) if position else ()
        latent = LatentConfig(
            encoder["output_dim"],
            encoder["hidden_dim"],
            encoder["hidden_gru"],
            encoder["hidden_layers"],
            layers,
        )
    net = ZigNetwork(
        ZigConfig(
            core_of(config["core"]),
            readout_of(config["readout"]),
            _pair(config["readout"]["kernel_size"]),
            latent,
        ),
        config["n_neurons"],
    )
    net.load_state_dict(folder.state)
    net.eval()
    for case in folder.json("cases.json")["cases"]:
        inputs = folder.inputs(case)
        found = _zig(net, case, inputs, config)
        if "loglik.public" in found:
            # A scale near 0 divides: the likelihood of the given parameters counts.
            given = folder.tensors(case["expected"])
            theta, k, q = (given[key] for key in ("theta", "k", "q"))
            scored = inputs["responses"].transpose(1, 2)[:, -q.shape[1] :]
            rho = config["zero_threshold"]
            found["loglik.public"] = density.log_likelihood(scored, theta, k, q, rho, "public")
        relative = (0.0, RELATIVE)
        yield folder.compared(
            case,
            found,
            dict.fromkeys(("loglik", "train_objective", "kl", "eval_loglik_bits"), relative)
            | {"variance": (VALUES, RELATIVE), "loglik": (VALUES, RELATIVE)},
        )


@torch.no_grad()
def _zig(
    net: ZigNetwork, case: dict[str, Any], inputs: dict[str, Tensor], config: dict[str, Any]
) -> dict[str, Tensor]:
    session, rho = case["session"], config["zero_threshold"]
    maps = net.core(inputs["video"])
    readout, n_frames = net.readout_of(session), maps.shape[2]
    logit_q, log_theta = readout.parameters_at(maps)
    k, full = net.shape(session), inputs["responses"].transpose(1, 2)
    scored = full[:, -n_frames:]
    scale = math.sqrt(case["dataset_size"] / len(full))
    found = {
        "core.features": maps,
        "grid.mu": readout.places(),
        "video.logit_q": logit_q,
        "video.logtheta": log_theta,
        "k": k,
        "rho": torch.tensor([rho]),
    }
    penalty = net.penalty(session)
    if net.config.latent is None:
        theta, q = theta_and_q(logit_q, log_theta)
        public = density.log_likelihood(scored, theta, k, q, rho, "public")
        return found | {
            "theta": theta,
            "q": q,
            "k": k.expand_as(q),
            "rho": torch.full_like(q, rho),
            "mean": density.mean(theta, k, q, rho),
            "variance": density.variance(theta, k, q, rho),
            "loglik.public": public,
            "train_objective.public": penalty - scale * public.sum(),
        }
    weights = net.latent_weights(session, inputs.get("positions"))

    def mean_given(hidden: Tensor) -> Tensor:
        latents = net.posterior(full * ~hidden, session, n_frames)
        theta, q = theta_and_q(logit_q, log_theta, latents, weights)
        return density.mean(theta, k, q, rho)

    n = len(k)
    half, listed = (torch.arange(n) < n // part for part in (2, 4))
    listed[case["hidden_list"]] = True
    found["encoder.linear"] = net.encoder.linear[module_key(session)](full * ~half)
    found["posterior_mean.all_frames"] = net.encoder(full * ~half, session)
    found["mean.conditioned_half_hidden"] = mean_given(half)
    found["mean.conditioned_list_and_first_quarter_hidden"] = mean_given(listed)
    # The prior path of the public code, and so its draws, are those of the first clip.
    draws = _numbered(inputs, "prior_normals.")
    prior = [theta_and_q(logit_q[:1], log_theta[:1], z, weights) for z in draws]
    found["prior.theta.item0"], found["prior.q.item0"] = prior[0]
    theta, q = (torch.cat([pair[i] for pair in prior], -1).mean(-1) for i in (0, 1))
    found["mean.prior.item0"] = density.mean(theta, k, q, rho)
    public = density.log_likelihood(
        scored[:1, ..., None], prior[0][0], k[:, None], prior[0][1], rho, "public"
    )
    averaged = public.logsumexp(-1) - math.log(public.shape[-1])
    found["eval_loglik_bits.public.item0"] = averaged.mean() / math.log(2)
    # One step of training: hidden entries are 0, the others are scaled up.
    p = config["dropout_prob"]
    hidden = (inputs["train_uniforms"] <= p).transpose(1, 2)
    means = net.posterior(full * ~hidden / (1 - p), session, n_frames)
    spread = net.sigma.square()
    latents = means[..., None] + spread.sqrt() * inputs["train_normals"]
    theta, q = theta_and_q(logit_q, log_theta, latents, weights)
    mask = hidden[:, -n_frames:]
    public = density.log_likelihood(scored[..., None], theta, k[:, None], q, rho, "public")
    likelihood = (public * mask[..., None]).sum()
    divergence = density.divergence(means, spread, "public")
    objective = (penalty - scale * likelihood) / theta.shape[-1] + KL_WEIGHT * divergence
    return found | {
        "train.theta": theta,
        "train.q": q,
        "train.mask": mask,
        "train.posterior_mean": means,
        "train.posterior_variance": spread,
        "kl.public": divergence,
        "kl.public_again": divergence,
        "kl.correct": density.divergence(means, spread),
        "train_objective.public": objective / (len(full) * n_frames),
    }


def likelihood_lines(folder: Folder) -> Iterator[Line]:
    """Yield the errors of the density, entry by entry and reduced."""
    # As a number of the type of the responses, so that one of exactly rho is one.
    rho = float(np.float32(folder.config["rho"]))
    for case in folder.json("cases.json")["cases"]:
        inputs = folder.inputs(case)
        y, theta, k, q = (inputs[key] for key in ("y", "theta", "k", "q"))
        correct = density.log_likelihood(y, theta, k, q, rho)
        doubled = [x.double() for x in (y, theta, k, q)]
        found = {
            "loglik.class_forward": correct,
            "loglik.script": density.log_likelihood(y, theta, k, q, rho, "public"),
            "loglik.float64_scipy": density.log_likelihood(*doubled, rho),
            "mean": density.mean(theta, k, q, rho).expand_as(y),
            "variance": density.variance(theta, k, q, rho).expand_as(y),
        }
        loss, is_zero = -correct, y <= rho
        # The average is that of the zeros plus that of the others, neuron by neuron.
        zeros, others = (
            torch.where(part, loss, 0.0).sum(0) / part.sum(0) for part in (is_zero, ~is_zero)
        )
        for average, each in ((0, loss.sum(0)), (1, zeros + others)):
            found[f"loss.avg_{average}_per_neuron_1"] = each
            found[f"loss.avg_{average}_per_neuron_0"] = each.mean() if average else each.sum()
        yield folder.compared(case, found, default=(1e-5, RELATIVE))


# -- calcium POYO+ ---------------------------------------------------------------------
def poyo_lines(folder: Folder) -> Iterator[Line]:
    """Yield the errors of the cases of a calcium POYO+."""
    c = folder.config
    config = PoyoConfig(
        {name: Task(task["id"], task["dim"]) for name, task in c["readouts"].items()},
        window_s=c["sequence_length"],
        step_s=c["latent_step"],
        n_latents=c["num_latents_per_step"],
        width=c["dim"],
        depth=c["depth"],
        head=c["dim_head"],
        cross_heads=c["cross_heads"],
        self_heads=c["self_heads"],
        turned=c["rotate_dim"],
        shortest_s=c["t_min"],
        longest_s=c["t_max"],
        mult=c["ffn_mult"],
    )
    net = PoyoNetwork(config, c["unit_vocab"], c["session_vocab"]).eval()
    net.load_state_dict(folder.state)
    for case in folder.json("cases.json")["cases"]:
        found = _poyo(net, case, {k: v.numpy() for k, v in folder.inputs(case).items()})
        exact = {"token": (1e-12, 0.0), "rotary": (1e-6, 1e-6)}
        yield folder.compared(case, found, exact)


@torch.no_grad()
def _poyo(
    net: PoyoNetwork, case: dict[str, Any], inputs: dict[str, np.ndarray]
) -> dict[str, Tensor]:
    items = [
        Item(
            session,
            units,
            inputs[f"traces.{i}"],
            inputs[f"trace_timestamps.{i}"],
            {task: inputs[f"{task}.timestamps.{i}"] for task in tasks},
        )
        for i, (session, units, tasks) in enumerate(
            zip(case["sessions"], case["units"], case["tasks"], strict=True)
        )
    ]
    tokens, hidden = net.tokens(items), {}
    embedded = net.decode(net.encode(tokens, hidden.__setitem__), tokens, hidden.__setitem__)
    times = net.latent_times()
    n_latents, n_items = net.config.n_latents, len(items)
    found = {f"hidden.{key}": value for key, value in hidden.items()} | {
        "token.input_values": tokens.values,
        "token.input_unit_index": tokens.units,
        "token.input_timestamps": tokens.times_s,
        "token.input_mask": tokens.is_real,
        "token.latent_index": (torch.arange(len(times)) % n_latents).expand(n_items, -1),
        "token.latent_timestamps": times.expand(n_items, -1),
        "token.output_session_index": tokens.sessions,
        "token.output_decoder_index": tokens.tasks,
        "token.output_timestamps": tokens.query_times_s,
        "rotary.omega": net.rotary_emb.omega,
        "rotary.input": net.rotary_emb(tokens.times_s)[:, ::9],
        "rotary.latent": net.rotary_emb(times.expand(n_items, -1))[:, ::5],
        "input_tokens.every9": net.input_tokens(tokens)[:, ::9],
    }
    for task, values in net.answers(embedded, tokens).items():
        found[f"output_together.{task}"] = values
        done = 0
        for i, item in enumerate(items):
            n = len(item.queries.get(task, ()))
            found[f"output.{i}.{task}"] = values[done : done + n]
            done += n
        targets = _numbered(inputs, f"{task}.value.")
        if targets:
            target = np.concatenate(targets)
            if target.dtype.kind == "f":
                target = (target - case["normalize_mean"]) / case["normalize_std"]
            found[f"target.{task}"] = torch.from_numpy(target)
    return found


# -- DwiseNeuro ------------------------------------------------------------------------
def dwise_lines(folder: Folder) -> Iterator[Line]:
    """Yield the errors of the cases of a DwiseNeuro."""
    c = folder.config
    net = DwiseNetwork(
        DwiseConfig(
            channels=c["in_channels"],
            widths=tuple(c["core_features"]),
            strides=tuple(c["spatial_strides"]),
            spatial=c["spatial_kernel"],
            temporal=c["temporal_kernel"],
            expansion=c["expansion_ratio"],
            squeeze=c["se_reduce_ratio"],
            cortex=tuple(c["cortex_features"]),
            groups=c["groups"],
            softplus=c["softplus_beta"],
            dropout=c["drop_rate"],
            path_dropout=c["drop_path_rate"],
        ),
        {str(mouse): n for mouse, n in enumerate(c["readout_outputs"])},
    ).eval()
    net.load_state_dict(folder.state)
    kinds: dict[str | None, Callable[..., dict[str, Tensor]]] = {
        None: _dwise,
        "trial": _dwise_trial,
        "loss": _dwise_loss,
        "distillation": _dwise_distillation,
        "cutmix": _dwise_cutmix,
    }
    for case in folder.json("cases.json")["cases"]:
        with torch.no_grad():
            found = kinds[case.get("kind")](net, case, folder.inputs(case))
        expected = folder.tensors(case["expected"]).values()
        largest = max((float(x.abs().max()) for x in expected), default=0.0)
        yield folder.compared(case, found, default=(VALUES + RELATIVE * largest, 0.0))


def _dwise(net: DwiseNetwork, _case: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    stem = net.core.stem(inputs["x"])
    first, blocks = net.core.blocks[1](net.core.blocks[0](stem)), net.core.blocks
    maps = net.core(inputs["x"])
    pooled = maps.mean((3, 4))
    features = net.cortex(pooled)
    found = {
        "stem.item0": stem[:1],
        "block0.item0": first[:1],
        "position_encoding.0": blocks[0].code(stem.shape[2:]),
        "position_encoding.1": blocks[2].code(first.shape[2:]),
        "core": maps,
        "pooled": pooled,
        "cortex0": net.cortex.layers[0](pooled),
        "cortex": features,
    }
    for mouse, readout in enumerate(net.readouts):
        found[f"output.{mouse}"] = readout(features)
    return found


def _dwise_trial(
    net: DwiseNetwork, case: dict[str, Any], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    width, height = case["size_wh"]
    video = inputs["video"].permute(2, 0, 1)[None]
    behavior, pupil = (inputs[key][None] for key in ("behavior", "pupil_center"))
    stacked = stacked_input(video, behavior, pupil, height, width)
    sliding = Sliding(case["stack"], case["step"], case["blend"])
    n_frames = video.shape[1]
    mouse = str(case["mouse"])
    rates = [net(stacked[:, :, frames], mouse) for frames in sliding.windows(n_frames)]
    responses, weights = sliding.average(torch.cat(rates), n_frames, is_public=True)
    return {
        "stacked": stacked[0, :, :: case["stacked_every"]],
        "responses": responses,
        "weights_per_frame": weights,
    }


def _dwise_loss(_net: Any, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = inputs["mice_weights"]
    # Clips without a weight of a mouse are skipped.
    rates, targets = (
        [values[own != 0] for values, own in zip(_numbered(inputs, kind), weights.T, strict=True)]
        for kind in ("prediction.", "target.")
    )
    return {"loss": mice_poisson(rates, targets, weights, case["eps"])}


def _dwise_distillation(
    _net: Any, case: dict[str, Any], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    before = inputs["mice_weights"]
    weights = distillation_weights(before, case["ratio"])
    share = weights[before == 0].sum() / weights.sum()
    return {"mice_weights": weights, "share_of_distilled": share}


def _dwise_cutmix(_net: Any, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    clip, target = cut_mix(
        (inputs["x1"], inputs["x2"]),
        (inputs["y1"], inputs["y2"]),
        case["beta_draw"],
        case["centre_height_index"],
        case["centre_width_index"],
        is_public=True,
    )
    return {"x": clip, "y": target}


# -- CEBRA, whose training is random: scores of its embedding ---------------------------
CEBRA_MARGIN = 0.1
"""How far a mean correlation may lie below the smallest one of the package's own trainings."""


def cebra_lines(path: Path, name: str) -> Iterator[Line]:
    """Train with the settings of the cases, and compare how well behaviour is decoded."""
    cases = json.loads((path / "cases.json").read_text())
    stored = {k: v.numpy() for k, v in load_file(path / "inputs.safetensors").items()}
    given, trained = cases["config"], cases["train_rows"]
    config = CebraConfig(
        architecture=given["model_architecture"],
        hidden=given["num_hidden_units"],
        output=given["output_dimension"],
        temperature=given["temperature"],
        time_offset=given["time_offsets"],
    )
    sessions, tests = [], []
    for place, count in enumerate(trained):
        responses, behavior = stored[f"responses.{place}"], stored[f"behavior.{place}"]
        scaled = (behavior - behavior[:count].mean(0)) / behavior[:count].std(0)
        scaled = scaled.astype(np.float32)
        pieces = np.zeros(len(responses), np.int64)
        sessions.append(Samples(responses[:count], scaled[:count], pieces[:count]))
        tests.append(Samples(responses[count:], scaled[count:], pieces[count:]))
    with seeded(0):
        nets = new_networks(config, [one.responses.shape[1] for one in sessions])
        pairs = Pairs(sessions, reach(nets[0]), config.time_offset)
        solver = new_solver(nets, config, given["learning_rate"])
        for step in range(given["max_iterations"]):
            solve(solver, *pairs.draw(given["batch_size"], np.random.default_rng([0, step])))
    line = Line(f"{name}: decoding")
    by_count: dict[str, list[float]] = {count: [] for count in cases["mean_corr_range"]}
    for net, train, test in zip(nets, sessions, tests, strict=True):
        bank = embed(net, train.responses, train.piece)
        queries = embed(net, test.responses, test.piece)
        line.add("norm", np.linalg.norm(bank, axis=1), np.ones(len(bank)), 1e-5)
        for count, scores in by_count.items():
            decoded = train.behavior[nearest(bank, queries, int(count))].mean(axis=1)
            scores.append(float(correlation(decoded, test.behavior).mean()))
    for count, scores in by_count.items():
        short = cases["mean_corr_range"][count][0] - np.array(scores)
        line.add(f"k = {count}", np.maximum(short, 0), np.zeros(len(scores)), CEBRA_MARGIN)
    yield line


# -- all -------------------------------------------------------------------------------
KINDS: dict[str, Callable[[Folder], Iterator[Line]]] = {
    "encoder_norm": zig_lines,
    "elu_offset": factorised_lines,
    "rho": likelihood_lines,
    "unit_vocab": poyo_lines,
    "readout_outputs": dwise_lines,
}
"""Key of a config -> comparison of models with this key."""


def lines(root: Path) -> Iterator[Line]:
    """Yield the errors of all cases of all folders."""
    for path in sorted({file.parent for file in root.rglob("cases.json")}):
        name = path.relative_to(root).as_posix()
        if not (path / "config.json").exists():
            if find_spec("cebra") is None:
                print(f"not compared: {name}, which needs the extra cebra")
                continue
            yield from cebra_lines(path, name)
            continue
        folder = Folder(path, name)
        compare = next((KINDS[key] for key in KINDS if key in folder.config), None)
        if compare is None:
            yield Line(folder.name, faults=["is no model that is compared"])
            continue
        try:
            yield from compare(folder)
        except Unknown as error:
            yield Line(folder.name, faults=[str(error)])


if __name__ == "__main__":
    run(lines)
