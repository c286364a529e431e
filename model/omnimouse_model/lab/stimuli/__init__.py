"""Stimuli of the laboratory: videos with a table of their events.

Angles are those of the motion: 0° to the right, 90° up, counter-clockwise. Sizes in
degrees hold at the centre of the monitor, which is flat: towards its edges, the same
pixels cover a smaller angle. Every stimulus is a function of its seed.
"""

from omnimouse_model.public_names import public_names

__getattr__, __dir__ = public_names(__name__, __file__)
