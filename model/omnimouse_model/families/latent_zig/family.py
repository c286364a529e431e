"""The latent zero-inflated gamma model as a `Family`."""

from pathlib import Path

from omnimouse_model.predict.family import Family, Training, later, shipped_configs

_HERE = "omnimouse_model.families.latent_zig"

FAMILY = Family(
    "latent_zig",
    load=later(f"{_HERE}.network:LATENT_ZIG.load"),
    title="Latent ZIG model",
    summary="A distribution of responses from video and latents that neurons share.",
    describe=later(f"{_HERE}.network:LATENT_ZIG.describe"),
    training=Training(
        later(f"{_HERE}.training:ZigTraining.read"),
        later(f"{_HERE}.training:ZigTraining.windows"),
        later(f"{_HERE}.training:ZigTraining.train"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    export=later(f"{_HERE}.training:ZigTraining.export"),
    published="Latent model",
)
