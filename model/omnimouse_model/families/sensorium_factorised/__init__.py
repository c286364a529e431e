"""The Sensorium-2023 baseline as a `Family`."""

from pathlib import Path

from omnimouse_model.predict.family import Family, Training, later, shipped_configs

_NETWORK = "omnimouse_model.families.sensorium_factorised.network"

FAMILY = Family(
    "sensorium_factorised",
    load=later(f"{_NETWORK}:FACTORISED.load"),
    title="Sensorium-2023 baseline",
    summary="Factorised 3D convolutions with a Gaussian readout: predicts responses from video.",
    describe=later(f"{_NETWORK}:FACTORISED.describe"),
    training=Training(
        later(f"{_NETWORK}:FactorisedTraining.read"),
        later(f"{_NETWORK}:FactorisedTraining.windows"),
        later(f"{_NETWORK}:FactorisedTraining.train"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    export=later(f"{_NETWORK}:FactorisedTraining.export"),
)
