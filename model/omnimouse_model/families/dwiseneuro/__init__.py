"""DwiseNeuro as a `Family`."""

from omnimouse_model.predict.family import shipped_family

FAMILY = shipped_family(
    __file__,
    "network:DwiseCheckpoint",
    "network:DwiseTraining",
    title="DwiseNeuro",
    summary="The winner of Sensorium 2023: predicts responses from video and behaviour.",
)
