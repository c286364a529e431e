import pickle
from zipfile import ZipFile

import pytest
import torch

from omnimouse_model.errors import CheckpointError
from omnimouse_model.storage.tensors import read_tensors


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80\x02.",  # takes a value from an empty stack
        b"\x80\x02q\x00.",  # names a value that is not there
        b"\x80\x02h\x07.",  # asks for a value without a name
        pickle.dumps(print, 2),
    ],
)
def test_named_tensors_are_read_and_other_programs_refused(tmp_path, program):
    torch.save({"weight": torch.arange(3)}, tmp_path / "a.pt")
    with ZipFile(tmp_path / "a.pt") as whole, ZipFile(tmp_path / "b.pt", "w") as wrong:
        for name in whole.namelist():
            is_program = name.endswith("data.pkl")
            wrong.writestr(name, program if is_program else whole.read(name))
    assert read_tensors(tmp_path / "a.pt")["weight"].tolist() == [0, 1, 2]
    with pytest.raises(CheckpointError, match=r"b\.pt is damaged or unsafe"):
        read_tensors(tmp_path / "b.pt")
