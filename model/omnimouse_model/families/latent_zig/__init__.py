"""The latent zero-inflated gamma model as a `Family`."""

from omnimouse_model.predict.family import shipped_family

FAMILY = shipped_family(
    __file__,
    "network:ZigCheckpoint",
    "network:ZigTraining",
    title="Latent ZIG model",
    summary="A distribution of responses from video and latents that neurons share.",
    published="Latent model",
)
