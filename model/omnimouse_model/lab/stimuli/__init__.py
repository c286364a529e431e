"""Stimuli of the laboratory: videos with a table of their events.

Angles are those of the motion: 0° to the right, 90° up, counter-clockwise. Sizes in
degrees hold at the centre of the monitor, which is flat: towards its edges, the same
pixels cover a smaller angle. Every stimulus is a function of its seed.
"""

from typing import TYPE_CHECKING

from omnimouse_model.public_names import public_names

if TYPE_CHECKING:
    from omnimouse_model.lab.stimuli.dots import gaussian_dots as gaussian_dots
    from omnimouse_model.lab.stimuli.dots import kinematograms as kinematograms
    from omnimouse_model.lab.stimuli.gratings import drifting_gabors as drifting_gabors
    from omnimouse_model.lab.stimuli.gratings import (
        drifting_gratings as drifting_gratings,
    )
    from omnimouse_model.lab.stimuli.gratings import grating_levels as grating_levels
    from omnimouse_model.lab.stimuli.images import images_in as images_in
    from omnimouse_model.lab.stimuli.images import movie as movie
    from omnimouse_model.lab.stimuli.images import still_images as still_images
    from omnimouse_model.lab.stimuli.noise import pink_noise as pink_noise
    from omnimouse_model.lab.stimuli.squares import sparse_noise as sparse_noise
    from omnimouse_model.lab.stimuli.stimulus import Monitor as Monitor

_NAMES = {
    "dots": "gaussian_dots kinematograms",
    "gratings": "drifting_gabors drifting_gratings grating_levels",
    "images": "images_in movie still_images",
    "noise": "pink_noise",
    "squares": "sparse_noise",
    "stimulus": "Monitor",
}
__getattr__, __dir__ = public_names(__name__, _NAMES)
