"""DwiseNeuro, the winner of Sensorium 2023: rates of neurons from video and behaviour."""
