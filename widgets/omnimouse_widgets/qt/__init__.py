"""Panels for any Qt window; they know no napari.

qtpy is imported here, first: pyqtgraph takes whatever binding is already loaded.
"""

import qtpy as qtpy
