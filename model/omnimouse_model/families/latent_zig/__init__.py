"""The latent zero-inflated gamma model as a `Family`."""

from pathlib import Path

from omnimouse_model.predict.family import Family, Training, later, shipped_configs

FAMILY = Family(
    "latent_zig",
    load=later(f"{__name__}.network:LATENT_ZIG.load"),
    title="Latent ZIG model",
    summary="A distribution of responses from video and latents that neurons share.",
    describe=later(f"{__name__}.network:LATENT_ZIG.describe"),
    training=Training(
        later(f"{__name__}.training:ZigTraining.read"),
        later(f"{__name__}.training:ZigTraining.windows"),
        later(f"{__name__}.training:ZigTraining.train"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    export=later(f"{__name__}.training:ZigTraining.export"),
    published="Latent model",
)
