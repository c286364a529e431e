"""DwiseNeuro as a `Family`."""

from pathlib import Path

from omnimouse_model.predict.family import Family, Training, later, shipped_configs

_HERE = "omnimouse_model.families.dwiseneuro"

FAMILY = Family(
    "dwiseneuro",
    load=later(f"{_HERE}.network:DWISENEURO.load"),
    title="DwiseNeuro",
    summary="The winner of Sensorium 2023: predicts responses from video and behaviour.",
    describe=later(f"{_HERE}.network:DWISENEURO.describe"),
    training=Training(
        later(f"{_HERE}.training:DwiseTraining.read"),
        later(f"{_HERE}.training:DwiseTraining.windows"),
        later(f"{_HERE}.training:DwiseTraining.train"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    export=later(f"{_HERE}.training:DwiseTraining.export"),
)
