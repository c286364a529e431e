"""Qt panels for a `Controller`; this package does not import napari.

qtpy is imported here, before pyqtgraph, so that pyqtgraph uses the same Qt binding.
"""

import qtpy as qtpy
