"""Pictures of the documentation: those of noise are light enough for a page."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.bench.browser.screenshots import save_picture


@pytest.mark.parametrize(("noise", "size"), [(255, (400, 300)), (0, (800, 600))])
def test_a_heavy_picture_is_saved_at_half_size(noise, size, tmp_path):
    pixels = np.random.default_rng(0).integers(0, noise + 1, (600, 800, 3), np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG")
    save_picture(SimpleNamespace(screenshot=stored.getvalue), tmp_path / "noise.png")
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.size == size
