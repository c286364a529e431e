"""Fast transfer of the neuron colours to the screen.

The fast path writes rows of the colour texture that napari's label shader reads
(0.2-0.4 ms for any number of neurons and any field, against 6-13 ms for a new
colormap). It uses private names of napari 0.9 and vispy 0.17; no other module uses
them. After any error, the class uses the public path permanently.
"""

import logging
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap

logger = logging.getLogger(__name__)

_TEXTURE_SIDE = 256
"""napari's colour texture for uint16 labels is 256 x 256, row-major by label."""


class LabelColours:
    """Colour table of one Labels layer, and its transfer to the screen.

    `show` sends the rows that differ from the displayed ones. No other call is needed
    to keep the screen up to date, and a second identical call changes nothing.
    """

    def __init__(self, viewer: Any, layer: Labels, n_labels: int) -> None:
        self._viewer = viewer
        self._layer = layer
        self._n_labels = n_labels
        self._texture = np.zeros((_TEXTURE_SIDE**2, 4), np.float32)
        self.is_fast = True
        self.set_public()

    @property
    def rows(self) -> np.ndarray:
        """Displayed colours, float32 (n_labels, 4), label 1 first."""
        return self._texture[1 : self._n_labels + 1]

    def show(self, rows: np.ndarray) -> bool:
        """Show the colours; return False if they are displayed already."""
        changed = np.flatnonzero((rows != self.rows).any(axis=1))
        if not len(changed):
            return False
        labels = changed + 1
        # Row 0 of the texture is the background label.
        self._texture[labels] = rows[changed]
        if self.is_fast:
            try:
                self._write_texture(labels)
            except Exception:
                # Another napari version may lack the private names. The public path is
                # slower but always available.
                logger.warning("Fast colours are off: napari differs", exc_info=True)
                self.is_fast = False
        if not self.is_fast:
            self.set_public()
        return True

    def set_public(self) -> None:
        """Set a new colormap: slow, public, and refreshes the thumbnail."""
        self._layer.colormap = CyclicLabelColormap(
            colors=self._texture[: self._n_labels + 1].copy()
        )

    def _write_texture(self, labels: np.ndarray) -> None:
        # The same numbers go into the colormap and its cache is dropped, so that any
        # rebuild by napari (3-D toggle, new data) makes the right texture (#7327).
        colormap: Any = self._layer.colormap
        colormap.colors[labels] = self._texture[labels]
        colormap._clear_cache()
        # Looked up afresh each time: a rebuild replaces the texture object.
        canvas = self._viewer.window._qt_viewer.canvas
        node = canvas.layer_to_visual[self._layer].node
        first, last = labels[0] // _TEXTURE_SIDE, labels[-1] // _TEXTURE_SIDE + 1
        grid = self._texture.reshape(_TEXTURE_SIDE, _TEXTURE_SIDE, 4)
        texture = node.shared_program["texture2D_values"]
        texture.set_data(grid[first:last], offset=(int(first), 0))
        node.update()
