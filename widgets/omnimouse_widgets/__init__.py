"""Views of a `Controller`: Qt panels, and widgets for Jupyter notebooks.

The Jupyter widgets are public names of this package, e.g. `Explorer`. They are
imported on first use, so that importing this package does not import a toolkit.
"""

from omnimouse_model.public_names import public_names

__getattr__, __dir__ = public_names(__name__, __file__)
