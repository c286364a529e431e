"""Masks: the visible input and the targets of a predictor, and the rules for both.

`mask` is the mask and its methods, `cells` the rules over its codes, `time_mapping` masks
out of masks and masks of other specs, `strategies` the structured masks of OmniMouse's
official code, `attachment` what one family of models keeps in a mask, `remarks` the cells
that are not read or scored, `files` masks as text, `selection` and `neuron_table` the
choice of neurons.
"""

from omnimouse_model.masks.attachment import Attachment as Attachment
from omnimouse_model.masks.attachment import Remark as Remark
from omnimouse_model.masks.attachment import register_attachment as register_attachment
from omnimouse_model.masks.cells import HIDDEN as HIDDEN
from omnimouse_model.masks.cells import MIXED as MIXED
from omnimouse_model.masks.cells import PATTERN_NAMES as PATTERN_NAMES
from omnimouse_model.masks.cells import STATE_NAMES as STATE_NAMES
from omnimouse_model.masks.cells import TARGET as TARGET
from omnimouse_model.masks.cells import TRANSITION as TRANSITION
from omnimouse_model.masks.cells import VISIBLE as VISIBLE
from omnimouse_model.masks.cells import BehaviorMode as BehaviorMode
from omnimouse_model.masks.cells import HasNeurons as HasNeurons
from omnimouse_model.masks.cells import Neurons as Neurons
from omnimouse_model.masks.cells import Samples as Samples
from omnimouse_model.masks.mask import UNGUARDED as UNGUARDED
from omnimouse_model.masks.mask import Mask as Mask
from omnimouse_model.masks.mask import input_cells as input_cells
from omnimouse_model.masks.mask import scored_cells as scored_cells
from omnimouse_model.masks.remarks import remarks_on as remarks_on
