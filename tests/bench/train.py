"""`omnimouse bench train`: cost of a training step, and of loading its batches."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import (
    device_option,
    named_session,
    repeated,
    sessions_option,
    threads_option,
)
from tests.bench.benchmark import Row, benchmark

if TYPE_CHECKING:
    from omnimouse_model.predict.devices import Precision


@benchmark(
    "train",
    title="Training on {device}",
    columns=(
        *("config", "precision", "name", "value", "unit"),
        *("step_s", "windows_per_s", "tokens_per_s"),
    ),
)
@repeated(
    *("--config", "configs"),
    help="A shipped config, or a file.",
    default=("demo", "omnimouse-1M"),
    show_default=True,
)
@sessions_option
@click.option("--steps", default=12, show_default=True, type=click.IntRange(min=1))
@threads_option(2)
@click.option("--compile", "is_compiled", is_flag=True, help="Compile the blocks of the network.")
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Instead of the config's."
)
@device_option
def command(
    configs: tuple[str, ...],
    sessions: tuple[str, ...],
    steps: int,
    is_compiled: bool,
    precision: "Precision | None",
    device: str,
) -> list[Row]:
    """Time training steps against forward passes and loading of the same batches.

    A step is forward and backward pass, gradient clipping and both updates; a forward
    pass is the loss without gradients. Batches are drawn as the config states, from
    the sessions of --session.
    """
    from omnimouse_model.inference.families import training_plan
    from omnimouse_model.predict.devices import computes_in_bf16, resolve_device
    from omnimouse_model.training.sessions import training_session
    from tests.bench.step_cost import step_cost

    place = resolve_device(device)
    # Sessions are opened once and shared: reading their headers is not a cost of a
    # step.
    opened = [training_session(named_session(name)) for name in sessions]
    rows: list[Row] = []
    for name in configs:
        click.echo(f"{name} …", err=True)
        settings = training_plan(name).config
        # Responses only, so that the costs of different configs can be compared.
        responses = tuple(replace(p, targets="responses") for p in settings.phases)
        dtype = precision or settings.precision
        settings = replace(settings, phases=responses, compile=is_compiled, precision=dtype)
        cost = step_cost(settings, opened, place, steps)
        # Ratios of sums, not means of ratios: a slow step counts by its duration.
        shared = {
            "config": name,
            "device": str(place),
            "precision": "bf16" if computes_in_bf16(place.type, dtype) else "fp32",
            "neurons": max(s.session.n_neurons for s in opened),
            "n": steps,
            "step_s": float(cost.step.mean()),
            "windows_per_s": float(cost.windows.sum() / cost.step.sum()),
            "tokens_per_s": float(cost.tokens.sum() / cost.step.sum()),
        }
        for quantity, value, unit in (
            ("train_step_forwards", cost.forwards_per_step, "forward passes"),
            ("train_draw_share", cost.draw_share, "of the step"),
            ("train_waited_share", cost.waited_share, "of the time"),
        ):
            rows.append({"name": quantity, "value": value, "unit": unit} | shared)
    return rows
