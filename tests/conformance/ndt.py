"""Compare the neural data transformer with a folder of outputs of the public code.

usage: python -m tests.conformance.ndt DIR

DIR has the form of the fixtures `ndt_parity`: config, weights with public names,
inputs, cases and expected outputs. Prints one line per case with its largest error in
units of its tolerance, and exits non-zero where a case is out of tolerance. R² of
averages over trials is not compared: the fixtures do not define it.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.ndt.network import CAUSAL, Ndt, NdtConfig, poisson_loss
from omnimouse_model.families.ndt.predictor import (
    N_WINDOWS,
    WINDOW,
    forward_windows,
    one_neuron_out,
    predict_regions,
    predicted_rates,
)
from omnimouse_model.families.ndt.training import START, one_cycle
from omnimouse_model.masks.schemes import RATIO, SchemeSettings, draw_scheme
from tests.conformance.line import Line, run
from tests.conformance.public_ndt import from_public, own_to_public
from tests.held_out_bits import bits_of

MAPS, LOSS, BITS, GRADIENTS = 1e-4, 1e-4, 1e-5, 1e-3
TRAINED, MOST_TRAINED, SHARE = 2e-5, 1e-3, 0.999
"""Most entries of trained tensors agree within the first, all within the second."""
UNDEFINED = ".attn.key.bias"
"""Its true gradient is 0, so that Adam's steps follow rounding errors."""
PUBLIC_RATIOS = {CAUSAL: 0.6}
"""Ratios of the public trainer that differ from those of the papers."""
DRAWS_SE = 4.0
"""Standard errors by which shares of hidden entries may differ."""
ROUNDING = 1e-6
"""Difference of shares that do not vary."""


# -- reading ---------------------------------------------------------------------------
@dataclass(slots=True)
class Reference:
    """The files of a folder."""

    folder: Path
    config: dict[str, Any] = field(init=False)
    cases: dict[str, Any] = field(init=False)
    inputs: dict[str, Tensor] = field(init=False)
    state: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.config, self.cases = self.json("config.json"), self.json("cases.json")
        self.inputs = self.tensors("inputs.safetensors")
        self.state = self.tensors("state_dict.safetensors")

    def json(self, name: str) -> dict[str, Any]:
        """Return a description."""
        found: dict[str, Any] = json.loads((self.folder / name).read_text("utf-8"))
        return found

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return tensors by name."""
        return dict(load_file(self.folder / name))

    @property
    def sessions(self) -> dict[str, int]:
        """Neurons of each session, in the order of their embeddings."""
        listed = sorted(self.config["sessions"], key=lambda s: s["session_index"])
        return {entry["eid"]: entry["n_neurons"] for entry in listed}

    def regions(self, session: str) -> list[str]:
        """Return the region of each neuron of a session."""
        (entry,) = [s for s in self.config["sessions"] if s["eid"] == session]
        return list(entry["neuron_regions"])

    def net(self, *, prompt: bool = True, session: bool = True) -> Ndt:
        """Return the network, with the leak of the public code."""
        config = config_of(self.config["model"], prompt=prompt, session=session)
        # Copies: a network takes the tensors over, and training changes them.
        state = {name: value.clone() for name, value in self.state.items()}
        return from_public(state, config, self.sessions, str(self.folder))


def config_of(model: dict[str, Any], *, prompt: bool, session: bool) -> NdtConfig:
    """Return the config of a description with public names."""
    dropout = float(model.get("dropout", 0.0))
    return NdtConfig(
        d_token=model["n_channels"],
        mult=model["mult"],
        n_bins=model["max_F"],
        d_model=model["hidden_size"],
        n_layers=model["n_layers"],
        n_heads=model["n_heads"],
        d_inner=model["inter_size"],
        dropout=dropout,
        block_dropout=dropout,
        has_prompt=prompt,
        has_session=session,
        leaks=True,
    )


# -- cases -----------------------------------------------------------------------------
def case_line(reference: Reference, case: dict[str, Any]) -> Line:
    """Return the errors of the network in one case."""
    line = Line(case["name"])
    inputs = reference.inputs
    spikes = inputs[case["spikes"]][:, : case["n_bins"]]
    hidden, target = (inputs[case[key]].bool() for key in ("input_mask", "target_mask"))
    is_real = None
    if case["time_attn_mask"] is not None:
        is_real = inputs[case["time_attn_mask"]].bool()
    net = reference.net(prompt=case["use_prompt"], session=case["use_session"])
    seen = spikes.masked_fill(hidden, 0)
    found: dict[str, Tensor] = {"masked_input": seen}
    with torch.inference_mode():
        encoded = net.encode(
            seen,
            case["session"],
            case["scheme"],
            is_real=is_real,
            backward=max(case["context"]["backward"], 0),
            record=found.__setitem__,
        )
        found["log_rates"] = net.read(encoded, case["session"])
    scored = target if is_real is None else target & is_real[..., None]
    found["effective_target_mask"] = scored
    expected = reference.tensors(case["expected"])
    for key, value in expected.items():
        if key in found:
            is_exact = value.dtype == torch.uint8
            line.add(key, found[key], value, 0.5 if is_exact else MAPS)
        elif key not in ("loss", "n_examples"):
            line.faults.append(f"{key} is not computed")
    # Where the public code evaluates, its loss is over all entries and not reproduced.
    if case["masker_active"]:
        loss = poisson_loss(found["log_rates"], spikes, scored, is_sum=True)
        line.add("loss", float(loss), float(expected["loss"][0]), rtol=LOSS)
        line.add("n_examples", int(scored.sum()), int(expected["n_examples"][0]), 0.5)
        _compare_mask(line, reference, case, hidden.numpy(), target.numpy())
    return line


def _compare_mask(
    line: Line, reference: Reference, case: dict[str, Any], hidden: np.ndarray, target: np.ndarray
) -> None:
    """Check that the recorded masks are ones that the scheme can draw."""
    masker, scheme = case["masker"], case["scheme"]
    regions = np.array(reference.regions(case["session"]))
    settings = SchemeSettings(
        ratio=masker["ratio"],
        max_span=masker["max_timespan"],
        expand=masker["expand_prob"],
        neurons=tuple(masker.get("channels", ())),
        bins=tuple(masker.get("timesteps", ())),
        allow_degenerate=True,
    )
    # The region, neurons and bins that the reference has drawn; schemes without chance
    # must give the recorded masks themselves.
    if scheme in ("co-smooth", "forward-pred", "inter-region"):
        for seed in range(100):
            rng = np.random.default_rng(seed)
            drawn = draw_scheme(scheme, hidden.shape, list(regions), rng, settings)
            if np.array_equal(drawn.hidden, hidden):
                break
        line.add("hidden", drawn.hidden, hidden, 0.5)
        line.add("target", drawn.target, target, 0.5)
        return
    drawn = draw_scheme(scheme, hidden.shape, list(regions), np.random.default_rng(0), settings)
    for key, ours, theirs in (
        ("hidden", drawn.hidden, hidden),
        ("target", drawn.target, target),
    ):
        for axis in (1, 2):
            varies = _varies(theirs, axis)
            if varies and not _varies(ours, axis):
                line.faults.append(f"{key} masks do not vary along axis {axis}")
    if scheme == "intra-region":
        region = regions[target.any(axis=(0, 1))]
        if len(set(region)) > 1:
            line.faults.append("targets in several regions")
        outside = ~np.isin(regions, region)
        line.add("outside", hidden[..., outside], np.ones_like(hidden[..., outside]), 0.5)
        inside = hidden[..., ~outside]
        line.add("inside", inside, target[..., ~outside], 0.5)
    else:
        line.add("target", target, hidden, 0.5)


def _varies(mask: np.ndarray, axis: int) -> bool:
    return bool((mask != np.take(mask, [0], axis)).any())


def draws_line(reference: Reference) -> Line:
    """Return the errors of the shares that schemes hide, in standard errors."""
    line = Line("mask draws")
    recorded = np.load(reference.folder / "mask_draws.npz", allow_pickle=False)
    regions = [str(name) for name in recorded["regions"]]
    n_seeds, n_trials = recorded[f"{_names(recorded)[0]}.input"].shape[:2]
    for name in _names(recorded):
        scheme, settings = _settings_of(reference, name)
        n_bins = int(recorded[f"{name}.length"])
        # Bins are stored for schemes over bins, neurons for all others.
        n_bins = n_bins if scheme in ("causal", "temporal") else 4
        shares = []
        for seed in range(n_seeds):
            drawn = draw_scheme(
                scheme,
                (n_trials, n_bins, len(regions)),
                regions,
                np.random.default_rng(seed),
                settings,
            )
            shares.append((drawn.hidden.mean(), drawn.target.mean()))
        own = np.array(shares)
        error = own.std(axis=0) / np.sqrt(n_seeds) * np.sqrt(2)
        for k, kind in enumerate(("input", "target")):
            expected = float(recorded[f"{name}.{kind}_fraction"])
            difference = abs(own[:, k].mean() - expected)
            # Of one region, every draw hides the same share.
            line.ratios[f"{name}.{kind}"] = difference / max(DRAWS_SE * error[k], ROUNDING)
    return line


def _names(recorded: Any) -> list[str]:
    return [n.removesuffix(".length") for n in recorded.files if n.endswith(".length")]


def _settings_of(reference: Reference, name: str) -> tuple[str, SchemeSettings]:
    """Return scheme and settings of recorded draws: those of the cases.

    A name such as "causal_03" states a ratio; "temporal_spans" has spans.
    """
    scheme, _, rest = name.partition("_")
    is_span = rest == "spans"
    maskers = [
        case["masker"]
        for case in sorted(
            reference.cases["cases"],
            # The case of that name first.
            key=lambda case: case["name"].replace("_", "-") != scheme,
        )
        if case["scheme"] == scheme
        and case["masker_active"]
        and (case["masker"]["expand_prob"] > 0) == is_span
        and (scheme != CAUSAL or case["name"] == scheme)
    ]
    masker = maskers[0] if maskers else {}
    ratio = masker.get("ratio", PUBLIC_RATIOS.get(scheme, RATIO))
    if rest.isdigit():
        ratio = int(rest) / 10 ** (len(rest) - 1)
    return scheme, SchemeSettings(
        ratio=ratio,
        max_span=masker.get("max_timespan", 1),
        expand=masker.get("expand_prob", 0.0),
        neurons=tuple(masker.get("channels", ())),
        bins=tuple(masker.get("timesteps", ())),
        allow_degenerate=True,
    )


def refusals(reference: Reference) -> Iterator[Line]:
    """Yield whether what the public code cannot take is refused, or is understood."""
    net = reference.net()
    session, count = next(iter(reference.sessions.items()))
    n_bins = net.config.n_bins
    counts = torch.ones(1, 3, count)
    tries: dict[str, Callable[[], Any]] = {
        "prompt_for_temporal": lambda: net(counts, session, "temporal"),
        "unknown_session": lambda: net(counts, "nobody", "neuron"),
        "too_long": lambda: net(torch.ones(1, n_bins + 1, count), session, "neuron"),
        "unknown_n": lambda: net(torch.ones(1, 3, count + 1), session, "neuron"),
    }
    for entry in reference.cases.get("refused_by_the_public_code", ()):
        line = Line(f"refused: {entry['what'][:40]}")
        if entry["name"] == "int_counts":
            ours = net(counts.long(), session, "neuron")
            line.add("log_rates", ours, net(counts, session, "neuron"), MAPS)
        elif entry["name"] in tries:
            try:
                tries[entry["name"]]()
                line.faults.append("is not refused")
            except UnsupportedRequestError:
                line.ratios["refused"] = 0.0
        else:
            line.name += " (not an input of this network)"
        yield line


# -- training --------------------------------------------------------------------------
def training_lines(reference: Reference) -> Iterator[Line]:
    """Yield the errors of training steps, without and with a gradient clip."""
    training = reference.json("training.json")
    for key, steps, clip in (
        ("noclip", training["steps"], None),
        ("clip1", training["steps_clip1"], 1.0),
    ):
        line, net = Line(f"training ({key})"), reference.net().train()
        optimiser, schedule = one_cycle(net.parameters(), training["total_steps"], training["lr"])
        for step in steps:
            group = optimiser.param_groups[0]
            name = f"step {step['step']} "
            line.add(name + "lr", group["lr"], step["lr"], rtol=1e-6)
            line.add(name + "beta1", group["betas"][0], step["beta1"], rtol=1e-6)
            loss, n_examples = _step_loss(net, reference.inputs, step)
            optimiser.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(net.parameters(), clip or float("inf"))
            line.add(name + "loss", float(loss.detach()), step["loss"], rtol=GRADIENTS)
            line.add(name + "norm", float(norm), step["grad_norm"], rtol=GRADIENTS)
            line.add(name + "n", n_examples, step["n_examples"], 0.5)
            if clip is None and step["step"] == 0:
                yield _gradient_line(reference, net)
            optimiser.step()
            schedule.step()
        _compare_trained(line, reference, net, f"train_final_{key}.safetensors")
        yield line


def _step_loss(net: Ndt, inputs: dict[str, Tensor], step: dict[str, Any]) -> tuple[Tensor, int]:
    hidden, target = (inputs[step[k]].bool() for k in ("input_mask", "target_mask"))
    name = f"train.{step['step']}.spikes"
    spikes = inputs[name] if name in inputs else inputs[f"spikes.{step['session']}"]
    output = net(spikes.masked_fill(hidden, 0), step["session"], step["scheme"])
    loss = poisson_loss(output, spikes, target, is_sum=True)
    return loss, int(target.sum())


def _gradient_line(reference: Reference, net: Ndt) -> Line:
    line = Line("gradients of the first step")
    expected = reference.tensors("train_grads_step0.safetensors")
    own = dict(net.named_parameters())
    # Public names of gradients: those of the parameters.
    public = {name: own[key] for key, name in _public_names(net).items()}
    for name, value in expected.items():
        if name.endswith(UNDEFINED):
            continue
        gradient = public[name].grad
        found = torch.zeros_like(value) if gradient is None else gradient
        largest = max(float(value.abs().max()), 1e-6)
        line.add(name, found, value, GRADIENTS * largest)
    return line


def _public_names(net: Ndt) -> dict[str, str]:
    """Return own name -> public name of each parameter."""
    numbered = {
        name: torch.full_like(value, number)
        for number, (name, value) in enumerate(net.state_dict().items())
    }
    marked = Ndt(net.config, net.sessions)
    marked.load_state_dict(numbered)
    names = list(numbered)
    return {
        names[int(value.flatten()[0])]: public for public, value in own_to_public(marked).items()
    }


def _compare_trained(line: Line, reference: Reference, net: Ndt, file: str) -> None:
    expected, found = reference.tensors(file), own_to_public(net)
    n_close = n_entries = 0
    for name, value in expected.items():
        if name.startswith("decoder.0.") or name.endswith(UNDEFINED):
            continue
        line.add(name, found[name].detach(), value, MOST_TRAINED)
        n_close += int(((found[name] - value).abs() <= TRAINED).sum())
        n_entries += value.numel()
    line.ratios["share of entries"] = (1 - n_close / n_entries) / (1 - SHARE)


def schedule_line(reference: Reference) -> Line:
    """Compare the learning-rate schedule with the reference."""
    line = Line("one cycle")
    recorded = np.load(reference.folder / "onecycle.npz", allow_pickle=False)
    for name in sorted({key.partition(".")[0] for key in recorded.files}):
        rates = recorded[f"{name}.lr"]
        weight = torch.nn.Parameter(torch.zeros(1))
        optimiser, schedule = one_cycle([weight], len(rates), START * float(rates[0]))
        own = []
        for _ in rates:
            group = optimiser.param_groups[0]
            own.append((group["lr"], group["betas"][0]))
            weight.grad = torch.zeros(1)
            optimiser.step()
            if len(own) < len(rates):
                schedule.step()
        line.add(f"{name}.lr", np.array(own)[:, 0], rates, 1e-6 * rates.max())
        line.add(f"{name}.beta1", np.array(own)[:, 1], recorded[f"{name}.beta1"], 1e-6)
    return line


# -- evaluation ------------------------------------------------------------------------
def evaluation_lines(reference: Reference) -> Iterator[Line]:
    """Yield the errors of rates and bits per spike of held-out entries."""
    about = reference.json("eval.json")
    arrays = reference.tensors("eval.safetensors")
    session, model = about["session"], about["model"]
    eid, regions = session["eid"], session["neuron_regions"]
    config = config_of(model, prompt=model["use_prompt"], session=model["use_session"])
    state = reference.tensors("eval_state_dict.safetensors")
    net = from_public(state, config, {eid: session["n_neurons"]}, "eval")
    spikes, onset = arrays["spikes"], about["onset_bin"]
    # The bins at the end of a trial that the public code predicts.
    last = arrays["forward_pred.rates"].shape[1] if "forward_pred.rates" in arrays else 0

    def window(start: int, stop: int) -> np.ndarray:
        """Return the rates of some bins that alone are hidden."""
        seen = spikes.clone()
        seen[:, start:stop] = 0
        return predicted_rates(net, eid, seen, "causal")[:, start:stop]

    length = spikes.shape[1]
    names = [f"windows_{kind}_zeroed.rates" for kind in ("future", "only_window")]
    given = next((arrays[name] for name in names if name in arrays), None)
    n_windows = N_WINDOWS if given is None else given.shape[1] // WINDOW
    starts = range(onset, onset + n_windows * WINDOW, WINDOW)
    modes: dict[str, Callable[[], np.ndarray]] = {
        "per_neuron": lambda: one_neuron_out(net, eid, spikes),
        "inter_region": lambda: predict_regions(net, eid, spikes, regions, "inter-region"),
        "intra_region": lambda: predict_regions(net, eid, spikes, regions, "intra-region"),
        "forward_pred": lambda: window(length - last, length),
        "windows_future_zeroed": lambda: forward_windows(
            net, eid, spikes, onset=onset, n_windows=n_windows
        ),
        "windows_only_window_zeroed": lambda: np.concatenate(
            [window(start, start + WINDOW) for start in starts], axis=1
        ),
    }
    for mode, predict in modes.items():
        if f"{mode}.rates" not in arrays:
            continue
        line, rates = Line(f"evaluation: {mode}"), predict()
        line.add("rates", rates, arrays[f"{mode}.rates"], MAPS)
        n_bins = rates.shape[1]
        # The windows begin at the onset; the public forward prediction ends a trial.
        span = slice(onset, onset + n_bins)
        if mode == "forward_pred":
            span = slice(spikes.shape[1] - n_bins, None)
        elif n_bins == spikes.shape[1]:
            span = slice(None)
        bits = bits_of(rates.astype(float), spikes[:, span].double().numpy())
        _compare_bits(line, bits, mode, arrays, about["results"][mode])
        yield line


def _compare_bits(
    line: Line, bits: Any, mode: str, arrays: dict[str, Tensor], results: dict[str, Any]
) -> None:
    expected = arrays[f"{mode}.bps"]
    # Minus infinity is a neuron without spikes, which has no number here.
    expected = torch.where(expected.isfinite(), expected, torch.nan)
    line.add("bps", bits.per_neuron, expected, BITS)
    mean = results.get(f"{mode}_mean_bps", results.get("mean_bps"))
    line.add("mean", bits.mean, mean, BITS)
    line.add("pooled", bits.pooled, results["pooled_bps"], BITS)
    line.add("excluded", bits.n_excluded, results["n_excluded"], 0.5)


def lines(folder: Path) -> Iterator[Line]:
    """Yield the errors of all cases of a folder."""
    reference = Reference(folder)
    for case in reference.cases["cases"]:
        yield case_line(reference, case)
    yield draws_line(reference)
    yield from refusals(reference)
    yield schedule_line(reference)
    yield from training_lines(reference)
    yield from evaluation_lines(reference)


if __name__ == "__main__":
    run(lines)
