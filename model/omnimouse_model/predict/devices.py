"""Which devices a predictor can be asked to compute on here."""

import sys

DEVICES = ("auto", "cpu")
"""Those that are always there."""


def devices_of(predictor: object) -> tuple[str, ...]:
    """Devices where a predictor computes, as far as they are known without torch.

    A predictor in another process tells its own; one that has not imported torch has
    nothing to compute on a GPU.
    """
    told = getattr(predictor, "devices", None)
    if told is not None:
        return tuple(told)
    torch = sys.modules.get("torch")
    has_cuda = torch is not None and torch.cuda.is_available()
    return (*DEVICES, "cuda") if has_cuda else DEVICES
