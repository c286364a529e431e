"""Public names of `omnimouse_model.lab.stimuli`, by the module that defines them."""

from .gratings_and_dots import drifting_gabors as drifting_gabors
from .gratings_and_dots import drifting_gratings as drifting_gratings
from .gratings_and_dots import gaussian_dots as gaussian_dots
from .gratings_and_dots import grating_levels as grating_levels
from .gratings_and_dots import kinematograms as kinematograms
from .gratings_and_dots import pink_noise as pink_noise
from .gratings_and_dots import sparse_noise as sparse_noise
from .stimulus import Monitor as Monitor
from .stimulus import images_in as images_in
from .stimulus import movie as movie
from .stimulus import still_images as still_images
