"""Reader of Sensorium 2022 and 2023 folders."""
