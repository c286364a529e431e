"""The Sensorium-2023 baseline as a `Family`."""

from omnimouse_model.predict.family import shipped_family

FAMILY = shipped_family(
    __file__,
    "network:FactorisedCheckpoint",
    "network:FactorisedTraining",
    title="Sensorium-2023 baseline",
    summary="Factorised 3D convolutions with a Gaussian readout: predicts responses from video.",
)
