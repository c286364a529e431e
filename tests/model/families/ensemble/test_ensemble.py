"""The file of an ensemble names its members, and nothing outside its folder."""

import json
import os

import pytest

import omnimouse_model as om
from omnimouse_model.data.hub.servers import VARIABLE, allow_connections, host_of
from omnimouse_model.errors import CheckpointError, ConnectError
from omnimouse_model.families.ensemble import MAX_MEMBERS
from omnimouse_model.inference import registry


def write(path, *names, ids=()):
    """Write the file of an ensemble that nobody has checked."""
    members = [
        {"path": name, "predictor_id": own} for name, own in zip(names, ids or names, strict=True)
    ]
    path.write_text(json.dumps({"omnimouse_ensemble": 1, "members": members}))
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of ensembles, below a folder with another file, in another working folder."""
    made = tmp_path / "ensembles"
    made.mkdir()
    (tmp_path / "outside.ensemble.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    return made


def test_members_in_the_folder_are_found_after_the_folder_is_moved(folder, tmp_path):
    inner = om.save_ensemble(folder / "inner.ensemble.json", ["mean", "last"])
    om.save_ensemble(folder / "outer.ensemble.json", [inner, "ridge"])
    folder.rename(tmp_path / "moved")
    outer = om.load_predictor(tmp_path / "moved" / "outer.ensemble.json")
    assert [len(getattr(member, "members", ())) for member in outer.members] == [2, 0]


@pytest.mark.parametrize("name", ["../outside.ensemble.json", "/etc/passwd", "link"])
def test_a_member_outside_the_folder_is_refused(folder, name):
    (folder / "link").symlink_to(folder.parent / "outside.ensemble.json")
    path = write(folder / "a.ensemble.json", "mean", name)
    with pytest.raises(CheckpointError, match="outside the folder"):
        om.load_predictor(path)


def test_a_member_that_is_named_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="two different members or more, found mean, last, mean"):
        om.save_ensemble(tmp_path / "a.ensemble.json", ["mean", "last", "mean"])


def test_a_member_that_is_a_link_to_itself_is_refused(folder):
    (folder / "loop").symlink_to("loop")
    path = write(folder / "a.ensemble.json", "mean", "loop")
    with pytest.raises(CheckpointError, match="There is no predictor"):
        om.load_predictor(path)


def test_a_member_is_not_looked_up_in_the_working_folder(folder):
    path = write(folder / "a.ensemble.json", "mean", "outside.ensemble.json")
    with pytest.raises(CheckpointError, match="There is no predictor"):
        om.load_predictor(path)


def test_an_ensemble_with_members_elsewhere_is_not_written(folder, tmp_path):
    other = om.save_ensemble(tmp_path / "other.ensemble.json", ["mean", "last"])
    with pytest.raises(ValueError, match="contains its members"):
        om.save_ensemble(folder / "a.ensemble.json", [other, "ridge"])


@pytest.mark.parametrize("link", [os.symlink, os.link, None])
def test_an_ensemble_of_itself_is_refused(folder, link):
    path = write(folder / "a.ensemble.json", "mean", "b.ensemble.json")
    if link is None:
        write(folder / "b.ensemble.json", "last", "a.ensemble.json")
    else:
        link(path, folder / "b.ensemble.json")
    with pytest.raises(CheckpointError, match="a member of itself"):
        om.load_predictor(path)


def test_too_many_members_or_levels_are_refused(folder):
    path = write(folder / "a.ensemble.json", *map(str, range(MAX_MEMBERS + 1)))
    with pytest.raises(CheckpointError, match="33 members"):
        om.load_predictor(path)
    for level in range(5):
        write(folder / f"{level}.ensemble.json", f"{level + 1}.ensemble.json", "mean")
    with pytest.raises(CheckpointError, match="3 deep"):
        om.load_predictor(folder / "0.ensemble.json")


def test_a_member_on_a_server_is_loaded_only_if_its_host_is_allowed(folder, session, monkeypatch):
    built = []
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example:8443")

    def build(name, device):
        built.append(name)
        return om.load_predictor("mean" if name.endswith("model") else "last")

    monkeypatch.setattr(registry, "load_member", build)
    path = write(
        folder / "a.ensemble.json", "hf://owner/model", "hf://owner/other", ids=("mean", "last")
    )
    with pytest.raises(ConnectError, match=r"--connect hub\.example:8443") as refusal:
        om.load_predictor(path, connect=["example"])
    assert refusal.value.code == "hub.example:8443"
    assert built == []
    om.load_predictor(path, connect=["HUB.example:8443"])
    assert built == ["hf://owner/model", "hf://owner/other"]
    with pytest.raises(ConnectError, match=r"--connect hub\.example:8443"):
        om.evaluate(path, session, "test/video_behavior", max_windows=1)
    om.evaluate(path, session, "test/video_behavior", max_windows=1, connect=["hub.example:8443"])
    assert len(built) == 4
    allow_connections(["hub.example:8443"])
    om.load_predictor(path)
    assert len(built) == 6


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("https://user:secret@data.example:99/a.nwb", "data.example:99"),
        ("http:/DATA.example/a.nwb", "data.example"),
        ("dandi:000026/sub/a.nwb", "api.dandiarchive.org"),
        ("ibl:someone/2020-01-01/1", "openalyx.internationalbrainlab.org"),
        ("omnimouse-5M", "huggingface.co"),
        ("mean", ""),
        ("/data/session", ""),
        ("hf://no", ""),
    ],
)
def test_the_host_of_a_name_is_the_server_that_is_asked(name, host, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert host_of(name) == host
