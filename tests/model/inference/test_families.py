import subprocess
import sys

import pytest

from omnimouse_model.inference.families import families

WITHOUT = """
import sys
sys.modules[{module!r}] = None  # its import fails, as without the folder
from omnimouse_model.inference.families import families
from omnimouse_model.inference.registry import load_predictor, predictor_names
print(*families(), load_predictor("mean").predictor_id if "mean" in predictor_names() else "-")
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("twin", "twin"),
        ("ndt", "ndt"),
        ("sensorium_factorised", "sensorium_factorised"),
        ("latent_zig", "latent_zig"),
        ("classical", "classical"),
        ("prediction_file", "prediction_file"),
    ],
)
def test_without_the_folder_of_a_family_the_others_are_there(folder, name):
    code = WITHOUT.format(module=f"omnimouse_model.families.{folder}")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    *found, mean = done.stdout.split()
    assert found == [other for other in families() if other != name]
    assert mean == ("-" if folder == "classical" else "mean")
    assert f"Family {folder}" in done.stderr
    assert "is left out" in done.stderr
