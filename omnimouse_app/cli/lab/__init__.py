"""`omnimouse lab`: experiments on a model that sees video."""

import click

from omnimouse_app.cli import LazyGroup

COMMANDS = {
    "directions": "Direction and orientation tuning, from gratings or noise.",
    "fields": "Receptive fields, from flashed dots.",
    "levels": "Tuning to period, frequency, contrast or size of gratings.",
    "recorded": "Recorded tuning beside that of the model.",
    "exciting": "The input to which neurons respond most.",
    "barcodes": "A label of the neurons, from what a model has learned of them.",
}
"""Command name -> its line in `omnimouse lab --help`."""


@click.group("lab", cls=LazyGroup, table=COMMANDS, package=__name__)
def command() -> None:
    """Run experiments on a model. They describe the model, not the animal."""
