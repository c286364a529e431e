"""Compile the parts of the net whose shapes do not depend on the mask.

Each mask has its own number of tokens and groups of queries, so whole blocks would be
compiled again for every mask. The blocks of the video encoder and the feed-forward
layers contain most of the operations of a step, and are compiled once.
"""

from omnimouse_model.nets.omnimouse.encoder import HieraBlock
from omnimouse_model.nets.omnimouse.layers import GatedFeedForward
from omnimouse_model.nets.omnimouse.network import OmniMouse


def compile_blocks(net: OmniMouse, backend: str = "inductor") -> None:
    """Compile blocks in place; compilation happens when a block first runs.

    Parameter names do not change.
    """
    # Feed-forward layers inside a video block are compiled with that block.
    within = {
        id(part)
        for block in net.modules()
        if isinstance(block, HieraBlock)
        for part in block.modules()
    }
    for module in net.modules():
        if isinstance(module, HieraBlock):
            # Module.compile, unlike torch.compile(module), adds no prefix `_orig_mod.`
            # to parameter names, so checkpoints stay readable.
            module.compile(dynamic=False, backend=backend)
        elif isinstance(module, GatedFeedForward) and id(module) not in within:
            # The number of tokens varies: let torch decide when to use dynamic shapes.
            module.compile(backend=backend)
