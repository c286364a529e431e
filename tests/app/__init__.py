"""Tests of the napari plugin; those in a window share one."""
