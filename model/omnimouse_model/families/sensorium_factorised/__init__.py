"""The Sensorium-2023 baseline: rates of neurons from video, behaviour and gaze."""
