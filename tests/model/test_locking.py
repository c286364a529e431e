"""Outputs that one process writes at a time."""

import subprocess
import sys

import pytest

from omnimouse_model.data.conversion.write import convert
from omnimouse_model.locking import OutputBusyError, sole_writer

HOLD = """
import sys
from pathlib import Path
from omnimouse_model.locking import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.process
def test_a_second_process_is_refused_until_the_first_is_killed(session, tmp_path):
    store = tmp_path / "mouse.zarr"
    command = [sys.executable, "-c", HOLD, str(store)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(OutputBusyError, match=r"mouse\.zarr"):
            convert(session, store)
        assert not list(tmp_path.iterdir())
        with sole_writer(tmp_path / "other.zarr"):
            holder.kill()
    assert convert(session, store).is_dir()
