"""DwiseNeuro as a `Family`."""

from pathlib import Path

from omnimouse_model.predict.family import Family, Training, later, shipped_configs

FAMILY = Family(
    "dwiseneuro",
    load=later(f"{__name__}.network:DWISENEURO.load"),
    title="DwiseNeuro",
    summary="The winner of Sensorium 2023: predicts responses from video and behaviour.",
    describe=later(f"{__name__}.network:DWISENEURO.describe"),
    training=Training(
        later(f"{__name__}.training:DwiseTraining.read"),
        later(f"{__name__}.training:DwiseTraining.windows"),
        later(f"{__name__}.training:DwiseTraining.train"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    export=later(f"{__name__}.training:DwiseTraining.export"),
)
