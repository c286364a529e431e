"""Text about the chosen predictor."""

from typing import Final

MEANINGS: Final = {
    "demo": "transformer",
    "demo-plain": "no context part",
    "twin-demo": "digital twin",
    "ndt-demo": "transformer of spikes",
    "mean": "each neuron's mean",
    "last": "last visible value",
    "interpolation": "nearest visible values",
    "ridge": "own past",
    "context-ridge": "visible neurons",
    "video-ridge": "motion energy",
    "linear-gaussian": "all that is visible",
}


def model_text(name: str) -> str:
    """Return the name of a predictor with a short description, if there is one."""
    return f"{name} · {MEANINGS[name]}" if name in MEANINGS else name
