"""Compile the parts of the net whose shapes do not follow the mask.

Masks give every step other numbers of tokens and other groups of queries, for which
whole blocks would be compiled anew; the video encoder's blocks and the feed-forward
layers, most of a step's products, are compiled once.
"""

from omnimouse_model.nets.omnimouse.encoder import HieraBlock
from omnimouse_model.nets.omnimouse.layers import GatedFeedForward
from omnimouse_model.nets.omnimouse.network import OmniMouse


def compile_blocks(net: OmniMouse, backend: str = "inductor") -> None:
    """Compile in place, when each part first runs; names of parameters stay."""
    within = {
        id(part)
        for block in net.modules()
        if isinstance(block, HieraBlock)
        for part in block.modules()
    }
    for module in net.modules():
        if isinstance(module, HieraBlock):
            module.compile(dynamic=False, backend=backend)
        elif isinstance(module, GatedFeedForward) and id(module) not in within:
            module.compile(backend=backend)
