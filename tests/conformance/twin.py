"""Compare the digital twin with a folder of outputs of the release, case by case.

usage: python -m tests.conformance.twin DIR

DIR has the form of the twin's parity fixtures: configs, weights with released names,
inputs, cases and expected outputs. Prints one line per case with its largest error and
the tolerance, and exits non-zero where a case is out of tolerance.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.twin.network import (
    Periphery,
    Perspective,
    TwinConfig,
    TwinNetwork,
    TwinOutput,
    TwinState,
    plane_grid,
    rotation,
    sample,
    to_sampling,
)
from omnimouse_model.families.twin.training import (
    AdaptiveSgd,
    TwinTrainConfig,
    freeze,
    learning_rate,
)
from omnimouse_model.families.twin.twin import DigitalTwin, read_released
from omnimouse_model.predict.checkpoint_file import load_strictly
from tests.conformance.line import Line, run

RATES, MAPS, FULL, GRADIENTS = 1e-5, 1e-4, 5e-5, 1e-4
LEAST = 1e-6
"""Absolute error of gradients and trained tensors that is always allowed."""
PERSPECTIVE = 1e-3
"""Tolerance of the perspective's gradients and trained tensors.

Its gradients are sums over all pixels that almost cancel: in float64 they differ from
the reference by up to 2e-4, and after some steps by up to 9e-3 of the small change.
"""


class TwinLine(Line):
    """Errors of a case of the twin."""

    def add(
        self, key: str, found: Any, expected: Any, atol: float = 1e-12, rtol: float = 0
    ) -> None:
        """Compare values that may have other axes of length 1."""
        found, expected = (torch.as_tensor(x).detach() for x in (found, expected))
        if found.numel() == expected.numel():
            found = found.reshape(expected.shape)
        # Rays almost along the plane of the monitor meet it thousands of units away.
        size = expected.abs().clamp(min=1) if key.startswith("monitor_grid") else 1
        Line.add(self, key, found / size, expected / size, atol, rtol=rtol)

    def add_scaled(
        self, key: str, found: Tensor, expected: Tensor, size: Tensor | None = None
    ) -> None:
        """Compare relative to the largest value of `size`, or of the expected."""
        largest = float((expected if size is None else size).abs().max())
        tolerance = PERSPECTIVE if ".perspective." in key else GRADIENTS
        limit = max(tolerance * largest, LEAST)
        error = (found.detach().reshape(expected.shape) - expected).abs().max()
        self.ratios[key] = float(error) / limit


@dataclass(frozen=True, slots=True)
class Reference:
    """A parity folder."""

    folder: Path
    facts: dict[str, Any]
    cases: dict[str, Any]
    inputs: dict[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> "Reference":
        """Read the descriptions and the inputs."""
        return cls(
            folder,
            json.loads((folder / "config.json").read_text())["networks"],
            json.loads((folder / "cases.json").read_text()),
            load_file(folder / "inputs.safetensors"),
        )

    @property
    def first(self) -> str:
        """The network whose parts are given: "a", or the first one."""
        return "a" if "a" in self.facts else next(iter(self.facts))

    def net(self, name: str) -> TwinNetwork:
        """Build a network strictly from its config and weights."""
        fact = self.facts[name]
        config = config_from_public(fact)
        state: dict[str, Tensor] = {}
        for entry in fact["weights"]:
            file, _, pattern = entry.partition(":")
            prefix = pattern.rstrip("*")
            tensors = load_file(self.folder / file)
            state |= {k: v for k, v in tensors.items() if k.startswith(prefix)}
        return load_strictly(lambda: TwinNetwork(config, fact["units"]), state, name)

    def expected(self, file: str) -> dict[str, Tensor]:
        """Read a file of expected values."""
        return load_file(self.folder / file)

    def input(self, name: str | None, frames: list[int] | None = None) -> Tensor | None:
        """Return an input, or some of its frames."""
        if name is None:
            return None
        return self.inputs[name][slice(*(frames or (None, None)))]


def check_cases(reference: Reference) -> Iterator[TwinLine]:
    """Yield the comparison of every case of `predict`."""
    twins: dict[str, DigitalTwin] = {}
    for case in reference.cases["cases"]:
        name = case["network"]
        twin = twins.setdefault(name, DigitalTwin(reference.net(name)))
        line, maps = TwinLine(case["name"]), dict[str, list[Tensor]]()
        frames = case["frames"]
        stimuli = reference.input(case["stimuli"], frames)
        assert stimuli is not None
        if case["channel_axis"]:
            stimuli = stimuli[..., None]
        if not case["reset"] and frames is None:
            before = _clip_before(case)
            twin.run(*(reference.input(x) for x in before))  # type: ignore[arg-type]

        def record(key: str, value: Tensor, maps: dict[str, list[Tensor]] = maps) -> None:
            maps.setdefault(key, []).append(value)

        output = twin.run(
            stimuli,
            reference.input(case["perspectives"], frames),
            reference.input(case["modulations"], frames),
            stream=case["stream"],
            periphery=case["periphery"],
            reset=case["reset"],
            record=record,
        )
        if not output.rates.isfinite().all():
            line.faults.append("rates are not finite")
        found = {key: torch.cat(parts) for key, parts in maps.items()}
        _compare(line, reference.expected(case["expected"]), found, output, twin)
        yield line


def _clip_before(case: dict[str, Any]) -> tuple[str | None, ...]:
    """Return the inputs of the clip that a carried case continues: names without 2."""
    names = (case["stimuli"], case["perspectives"], case["modulations"])
    return tuple(name and name.rstrip("0123456789") for name in names)


def _compare(
    line: TwinLine,
    expected: dict[str, Tensor],
    found: dict[str, Tensor],
    output: TwinOutput,
    twin: DigitalTwin,
) -> None:
    net, state = twin.net, twin.state
    assert state is not None
    lstms = {"recurrent": net.core.recurrent, "modulation": net.modulation.lstm}
    outputs = {
        "rates": output.rates,
        "logits": output.logits,
        "logits_streams": output.logits_streams,
    }
    for key, value in expected.items():
        name, _, place = key.rpartition(".")
        if key in outputs:
            line.add(key, outputs[key], value, RATES)
        elif key.startswith("state_last."):
            _, part, kind = key.split(".")
            line.add(key, state.lstms[lstms[part]]["hc".index(kind)], value, MAPS)
        elif key in found:
            line.add(key, found[key], value, MAPS)
        elif name in found and place.startswith("frame"):
            line.add(key, found[name][int(place[5:])], value, MAPS)
        elif name in found and place in ("first", "last"):
            line.add(key, found[name][{"first": 0, "last": -1}[place]], value, MAPS)
        else:
            line.faults.append(f"{key} is not computed")


def check_parts(reference: Reference) -> TwinLine:
    """Compare effective weights, geometry, inverse, positions and barcodes."""
    line, net = TwinLine("parts"), reference.net(reference.first)
    expected = reference.expected("expected_parts.safetensors")
    pupil = reference.inputs["perspective"][:2]
    image = reference.inputs["retina_image"]
    size = tuple(reference.inputs["video"].shape[1:3])
    state = net.start(len(image))
    with torch.inference_mode():
        eye = net.perspective
        angles = eye.mlp(pupil, state)
        rays = eye.rays(angles)
        values: dict[str, Tensor] = {
            "retina_rays": rays,
            "receptive_field_position": net.positions(),
            "functional_barcode": net.barcodes(),
            "rotation": rotation(angles),
        }
        for periphery in ("dark", "extend"):
            images, grid = _inverse(eye, image, pupil, size, state, periphery)
            values[f"inverse_{periphery}"] = images
            values["inverse_grid"] = grid
        for key, value in expected.items():
            if key.startswith("effective."):
                weight = _effective(net, key.removeprefix("effective."))
                line.add(key, weight, value, RATES)
            elif key in values:
                line.add(key, values[key], value, MAPS)
            else:
                line.faults.append(f"{key} is not computed")
    return line


def _inverse(
    eye: Perspective,
    images: Tensor,
    pupil: Tensor,
    size: tuple[int, int],
    state: TwinState,
    periphery: Periphery,
) -> tuple[Tensor, Tensor]:
    """Return monitor images (N, colours, h, w) of retina images, and their points.

    Points (N, h, w, 2) are the coordinates on the retina of each monitor pixel.
    """
    pixel, monitor = eye.retina_pixel, eye.monitor_pixel
    power = eye.max_power * torch.sigmoid(pixel.logit)
    luminance = ((images - pixel.offset) / pixel.scale) ** (1 / power) - eye.eps
    xy = plane_grid(*size).to(images)
    grid = eye.retina_points(xy.expand(len(pupil), -1, -1, -1), pupil, state)
    points = to_sampling(grid, (images.shape[-2], images.shape[-1]), size)
    sampled = sample(luminance, points, periphery)
    return ((sampled - monitor.offset) / monitor.scale) ** (1 / monitor.power), grid


def _effective(net: TwinNetwork, name: str) -> Tensor:
    """Return the normalised weight of a layer; a shared layer has no stream number."""
    path, _, stream = name.rpartition(".")
    layer: Any = net.get_submodule(path)
    if hasattr(layer, "effective"):
        return layer.effective(int(stream))
    layer = net.get_submodule(name)
    return layer.effective(0)


def check_loss(reference: Reference) -> TwinLine:
    """Compare losses and gradients, for all streams and for one."""
    line, plan = TwinLine("loss and gradients"), reference.cases["training"][0]
    expected = reference.expected("expected_loss.safetensors")
    net = reference.net(plan["network"])
    targets, burn_in = reference.inputs[plan["units"]], plan["burnin"]
    with torch.inference_mode():
        logits = _forward(reference, plan, net, None)
        line.add("loss_frames", net.losses(logits, targets), expected["loss_frames"], RATES)
        line.add("loss", net.loss(logits, targets, burn_in), expected["loss"], RATES)
    net.train()
    _silence(net)
    prefixes = {key.split(".")[0] for key in expected if "grad_norm" in key}
    for prefix in sorted(prefixes):
        stream = None if prefix == "all_streams" else int(prefix.removeprefix("stream"))
        net.zero_grad()
        loss = net.loss(_forward(reference, plan, net, stream), targets, burn_in)
        loss.backward()
        line.add(f"{prefix}.loss", loss.detach(), expected[f"{prefix}.loss"], RATES)
        gradients = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
        for key, value in expected.items():
            start = f"{prefix}.grad_norm."
            if key.startswith(start):
                found = gradients.get(key.removeprefix(start))
                norm = torch.zeros(1) if found is None else found.norm()
                line.add_scaled(key, norm, value)
            elif key.startswith("grad.") and stream is None:
                found = gradients[key.removeprefix("grad.")]
                line.add_scaled(key, found, value)
    return line


def _forward(
    reference: Reference, plan: dict[str, Any], net: TwinNetwork, stream: int | None
) -> Tensor:
    """Return the logits of the training clips."""
    video = reference.inputs[plan["stimuli"]]
    frames = video.permute(0, 1, 4, 2, 3).float() / 255
    pupil, behavior = (reference.input(plan[name]) for name in ("perspectives", "modulations"))
    state = net.start(frames.shape[1], stream)
    output: TwinOutput = net(frames, pupil, behavior, state)
    return output.logits


NOISE = (
    "perspective.monitor.center_std",
    "perspective.monitor.angle_std",
    "readout.position.sigma",
)
"""Parameters that scale the noise of training."""


def _silence(net: TwinNetwork) -> None:
    """Set the noise of training to 0, and keep it there."""
    for name in NOISE:
        net.get_parameter(name).requires_grad_(False).zero_()


def check_training(reference: Reference) -> Iterator[TwinLine]:
    """Yield the comparison of full optimiser steps."""
    for plan in reference.cases["training"]:
        line, net = TwinLine(f"training {plan['name']}"), reference.net(plan["network"])
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        net.train()
        freeze(net, tuple(plan["frozen"]))
        _silence(net)
        settings = plan["optimiser"]
        optimiser = AdaptiveSgd(
            net,
            TwinTrainConfig(
                frame_size=(2, 2),  # of no optimiser
                momentum=settings["momentum"],
                weight_decay=settings["decay"],
                clip=settings["clip"],
                clip_eps=settings["eps"],
            ),
            ("core", "perspective", "modulation", "readout"),
        )
        targets, losses = reference.inputs[plan["units"]], []
        for stream, lr in zip(plan["streams"], plan["learning_rates"], strict=True):
            optimiser.zero_grad()
            logits = _forward(reference, plan, net, stream)
            loss = net.loss(logits, targets, plan["burnin"])
            loss.backward()
            optimiser.set_lr(lr)
            optimiser.step()
            losses.append(loss.detach())
        net.eval()
        with torch.inference_mode():
            logits = _forward(reference, plan, net, None)
            final = net.loss(logits, targets, plan["burnin"])
        expected = reference.expected(plan["expected"])
        line.add_scaled("losses", torch.stack(losses), expected["losses"])
        line.add_scaled("final", final, expected["final_loss_all_streams"])
        _compare_trained(line, net, before, plan, expected)
        yield line


def _compare_trained(
    line: TwinLine,
    net: TwinNetwork,
    before: dict[str, Tensor],
    plan: dict[str, Any],
    expected: dict[str, Tensor],
) -> None:
    after = {name: p.detach() for name, p in net.named_parameters()}
    for name in plan["unchanged"]:
        if name in after and name not in NOISE and not torch.equal(after[name], before[name]):
            line.faults.append(f"{name} has changed")
    for key, value in expected.items():
        kind, _, name = key.partition(".")
        if kind == "after":
            line.add_scaled(key, after[name], value)
        elif kind == "after_norm":
            line.add_scaled(key, after[name].norm(), value)
        elif kind == "change_norm":
            change = (after[name] - before[name]).norm()
            line.add_scaled(key, change, value, after[name])


def check_rates(reference: Reference) -> TwinLine:
    """Compare the learning rates of both cycles."""
    line = TwinLine("learning rates")
    facts = json.loads((reference.folder / "learning_rates.json").read_text())
    for name, values in facts.items():
        if not name.startswith("cycle") or not isinstance(values, list):
            continue
        found = [
            learning_rate(
                epoch,
                int(name.removeprefix("cycle")),
                facts["lr"],
                facts["cycle_size"],
                facts["warmup_epochs"],
            )
            for epoch in range(len(values))
        ]
        line.add(name, np.array(found), np.array(values), 1e-9)
    return line


def check_release(reference: Reference) -> Iterator[TwinLine]:
    """Yield whether the released layout gives the same tensors and units."""
    for name, fact in reference.facts.items():
        if "scan" not in fact:
            continue
        line = TwinLine(f"release, scan {fact['scan'][0]}-{fact['scan'][1]}")
        files = read_released(reference.folder / "release", "-".join(map(str, fact["scan"])))
        # Sizes come from the shapes alone.
        net = files.build(*files.sessions)
        wanted = config_from_public(fact)
        if files.config != wanted:
            line.faults.append(f"config {files.config} for {wanted}")
        for key, value in reference.net(name).state_dict().items():
            line.add(key, net.state_dict()[key], value, LEAST)
        yield line


def check_full_size(reference: Reference) -> TwinLine:
    """Compare the released architecture at full size, with weights by recipe."""
    line, fact = TwinLine("full size"), reference.cases["full_size"]
    expected = reference.expected(fact["expected"])
    net = TwinNetwork(TwinConfig(), fact["units"]).eval()
    fill_by_recipe(net)
    samples = torch.stack([net.get_parameter(n).flatten()[:4] for n in _SAMPLED])
    line.add("weights_first4", samples.detach(), expected["weights_first4"], LEAST)
    factor = fact["upsample"]
    video = expected["input.video"].repeat_interleave(factor, 1)
    twin, maps = DigitalTwin(net), dict[str, list[Tensor]]()
    output = twin.run(
        video.repeat_interleave(factor, 2),
        expected["input.perspective"],
        expected["input.modulation"],
        record=lambda key, value: maps.setdefault(key, []).append(value),
    )
    values = {key: torch.cat(parts) for key, parts in maps.items()}
    values["logits_streams"], values["logits"] = output.logits_streams, output.logits
    values["rates"] = output.rates
    for key, value in expected.items():
        if key.startswith(("input.", "weights_first4")):
            continue
        name = key.removesuffix(".every4").removesuffix(".last")
        found = values[name]
        if ".last" in key:
            found = found[-1]
        if key.endswith(".every4"):
            found = found[..., ::4, ::4]
        line.add(key, found, value, FULL)
    return line


_SAMPLED = (
    "core.feedforward.blocks.0.convs.0.weights.0",
    "core.recurrent.conv.weights.3",
    "modulation.lstm.proj_o.gains.1",
    "core.recurrent.scales.2",
)


def fill_by_recipe(net: TwinNetwork) -> None:
    """Give the parameters the values of the fixtures' recipe."""
    rules: tuple[tuple[str, Callable[[np.ndarray], Any]], ...] = (
        ("perspective.monitor.center", lambda u: np.array([0.06, -0.04, 0.55])),
        ("perspective.monitor.angle", lambda u: 0.3 * (u - 0.5)),
        ("perspective.mlp.linears.3.gains.0", lambda u: 0.25 * u),
        (".scales.", lambda u: 2 + 6 * u),
        (".gains.", lambda u: 0.6 + u),
        (".biases.", lambda u: 0.6 * (u - 0.5)),
        ("readout.position.mu", lambda u: 3 * (u - 0.5)),
        ("readout.feature.", lambda u: 0.5 * (u - 0.5)),
        ("perspective.retina_pixel.scale", lambda u: 1 + 0.3 * u),
    )
    parameters = dict(net.named_parameters())
    for k, name in enumerate(sorted(parameters)):
        parameter = parameters[name]
        j = np.arange(parameter.numel(), dtype=np.uint64)
        x = (j * 2654435761 + k * 40503 + 12345) % 2**32
        x ^= x >> np.uint64(15)
        x = (x * np.uint64(2246822519)) % 2**32
        x ^= x >> np.uint64(13)
        u = x / 2**32
        matching = (rule for text, rule in rules if _matches(text, name))
        rule = next(matching, lambda u: u - 0.5)
        values = np.broadcast_to(rule(u), u.shape).astype(np.float32)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values.copy()).view_as(parameter))


def _matches(text: str, name: str) -> bool:
    """Return whether a rule is for a parameter: its name, or a part with dots."""
    return text == name or (text.endswith(".") and text in name)


def check_errors(reference: Reference) -> Iterator[TwinLine]:
    """Yield whether each invalid call is refused with a typed error."""
    video = next(v for v in reference.inputs.values() if v.dtype == torch.uint8)
    video = video[:, 0, ..., 0] if video.ndim == 5 else video
    calls: dict[str, list[dict[str, Any]]] = {
        "uint8": [{"stimuli": video.float()}],
        "clips": [
            {"stimuli": video},
            {"stimuli": torch.stack([video, video], 1)[..., None], "reset": False},
        ],
        "stream": [{"stimuli": video}, {"stimuli": video, "stream": 0, "reset": False}],
        "periphery": [{"stimuli": video, "periphery": "bright"}],
    }
    for case in reference.cases["error_cases"]:
        line = TwinLine(f"error: {case['what']}"[:60])
        kind = next((word for word in calls if word in case["what"]), None)
        if kind is None:
            line.faults.append("unknown error case")
            yield line
            continue
        twin = DigitalTwin(reference.net(reference.first))
        *before, last = calls[kind]
        for call in before:
            twin.run(**call)
        try:
            twin.run(**last)
        except UnsupportedRequestError as error:
            line.ratios[str(error)[:60]] = 0.0
        else:
            line.faults.append("not refused")
        yield line


def lines(folder: Path) -> Iterator[TwinLine]:
    """Yield the comparison of every part of a folder."""
    reference = Reference.read(folder)
    yield from check_cases(reference)
    yield check_parts(reference)
    yield check_loss(reference)
    yield from check_training(reference)
    yield check_rates(reference)
    yield from check_release(reference)
    yield from check_errors(reference)
    if "full_size" in reference.cases:
        yield check_full_size(reference)


def config_from_public(names: dict[str, Any]) -> TwinConfig:
    """Return the config that has the settings of the public package.

    Raises
    ------
    KeyError
        A setting is missing.
    ValueError
        A part has a type that this network does not have.
    """
    kinds = {
        "feedforward": "InputDense",
        "perspective": "MlpMonitorRetina",
        "monitor": "Plane",
        "monitor_pixel": "StaticPower",
        "retina": "Angular",
        "retina_pixel": "SigmoidPower",
        "modulation": "MlpLstm",
        "readout": "PositionFeature",
    }
    for part, kind in kinds.items():
        if names[part]["type"] != kind:
            raise ValueError(f"{part} is {names[part]['type']!r}, not {kind!r}.")
    cores: dict[str, Any] = {"CvtLstm": "cvt-lstm", "ConvLstm": "conv-lstm"}
    units: dict[str, Any] = {"Poisson": "poisson", "EluMse": "elu-mse"}
    if names["recurrent"]["type"] not in cores or names["unit"] not in units:
        raise ValueError(
            f"recurrent is {names['recurrent']['type']!r} and unit is "
            f"{names['unit']!r}, not of {', '.join([*cores, *units])}."
        )
    feedforward, recurrent = names["feedforward"], names["recurrent"]
    gaze, state = names["perspective"], names["modulation"]
    pixel = names["retina_pixel"]
    return TwinConfig(
        colours=names["stimuli"],
        pupil=names["perspectives"],
        behavior=names["modulations"],
        streams=names["streams"],
        gaze_features=gaze["mlp_features"],
        gaze_layers=gaze["mlp_layers"],
        gaze_nonlinear=gaze["mlp_nonlinear"],
        retina_height=gaze["height"],
        retina_width=gaze["width"],
        retina_degrees=float(names["retina"]["degrees"]),
        max_power=float(pixel["max_power"]),
        pixel_eps=float(pixel["eps"]),
        state_features=state["mlp_features"],
        state_layers=state["mlp_layers"],
        state_nonlinear=state["mlp_nonlinear"],
        state_hidden=state["lstm_features"],
        input_spatial=feedforward["input_spatial"],
        input_stride=feedforward["input_stride"],
        block_channels=tuple(feedforward["block_channels"]),
        block_groups=tuple(feedforward["block_groups"]),
        block_layers=tuple(feedforward["block_layers"]),
        block_temporals=tuple(feedforward["block_temporals"]),
        block_spatials=tuple(feedforward["block_spatials"]),
        block_pools=tuple(feedforward["block_pools"]),
        feedforward_channels=feedforward["out_channels"],
        feedforward_nonlinear=feedforward["nonlinear"],
        core=cores[recurrent["type"]],
        recurrent_channels=recurrent["in_channels"],
        hidden_channels=recurrent["hidden_channels"],
        common_channels=recurrent.get("common_channels", 0),
        out_channels=recurrent["out_channels"],
        groups=recurrent["groups"],
        recurrent_spatial=recurrent["spatial"],
        input_bias=float(recurrent["init_input"]),
        forget_bias=float(recurrent["init_forget"]),
        unit=units[names["unit"]],
    )


if __name__ == "__main__":
    run(lines)
