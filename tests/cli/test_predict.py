import pytest

import omnimouse_model as om
from omnimouse_app.cli.predict import named_mask
from omnimouse_model.errors import MaskError
from omnimouse_model.masks.selection import half_population_mask
from tests.cli.runner import rows_of_command, run_command

FORECAST = "causal_response_25_behavior"


def test_it_writes_and_describes_a_file(session_folder, session, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sync", lambda: None)
    out = tmp_path / "new" / "last.zarr"
    options = ["--model", "last", "--mask", FORECAST, "--tier", "test"]
    command = ("predict", session_folder, *options, "--out", out)
    (row,) = rows_of_command(*command)
    stored = om.open_predictions(out)
    assert (row["name"], row["unit"], row["tier"]) == ("predictions", "MiB", "test")
    assert (row["samples"], row["neurons"]) == stored.file.responses.shape
    again = run_command(*command)
    assert "test and train windows" in again.stdout, again.output
    assert f"{len(stored.file.window_starts_s)} windows" in again.stdout


def test_a_mask_is_a_strategy_a_preset_or_a_file(session, tmp_path):
    half = half_population_mask(session)
    path = str(half.save(tmp_path / "half.json"))
    assert named_mask(path, session) == half
    assert named_mask("random_half_video_behavior", session) == half
    assert named_mask(FORECAST, session).name == f"test/{FORECAST}"
    with pytest.raises(MaskError, match="random_half_video_behavior"):
        named_mask("random_half", session)
