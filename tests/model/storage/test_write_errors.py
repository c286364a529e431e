"""Errors of a drive name the path, the bytes and the next step."""

from errno import EACCES, ENAMETOOLONG, ENOSPC

import pytest

from omnimouse_model.storage import write as drive
from omnimouse_model.storage.write import DriveError, explained, writing


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(ENOSPC, "full"), "2.0 MB needed"),
        (OSError(EACCES, "no"), "Choose another folder"),
        # NumPy's error of a file that is written in part has no code.
        (OSError("216 requested and 7 written"), "the drive is full"),
    ],
)
def test_an_error_of_the_drive_has_the_path_and_the_next_step(tmp_path, error, words):
    with (
        pytest.raises(DriveError, match=words) as found,
        writing(tmp_path / "a.zarr", 2_000_000),
    ):
        raise error
    assert str(tmp_path / "a.zarr") in str(found.value)


@pytest.mark.parametrize("kind", ["a dead link", "a file"])
def test_a_cache_that_is_no_folder_is_explained(tmp_path, kind):
    place = tmp_path / "cache"
    place.symlink_to("nothing") if kind == "a dead link" else place.touch()
    for folder in (place, place / "inner"):
        with pytest.raises(OSError, match="cache") as error:
            folder.mkdir(parents=True, exist_ok=True)
        assert f"{place}: a file, or a link to nothing, is where" in explained(error.value)


def test_other_errors_are_not_changed(tmp_path):
    with pytest.raises(ValueError, match="odd"), writing(tmp_path):
        raise ValueError("odd")


def test_an_error_of_another_library_on_a_full_drive_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, "_free", lambda path: 0)
    with pytest.raises(DriveError, match=r"0\.0 MB free"), writing(tmp_path):
        raise RuntimeError("unexpected pos 64 vs 0")


def test_an_error_of_a_name_that_is_too_long_is_explained(tmp_path):
    error = OSError(ENAMETOOLONG, "name too long", str(tmp_path / ("x" * 300)))
    assert "name too long" in explained(error)
