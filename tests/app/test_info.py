"""`omnimouse info`: what a session holds, for people and for programs."""

import json

import pytest

from omnimouse_app.cli import main
from omnimouse_app.cli.info import checkpoint_lines
from omnimouse_model.families.omnimouse import DEMO
from omnimouse_model.simulate import demo
from tests import FIXTURES, SESSIONS

FOLDER = SESSIONS / "experanto_small"


@pytest.fixture
def info(capsys):
    """Runs the command: its exit status, and what it printed where it went."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["info", *arguments])
        printed = capsys.readouterr()
        status = int(ended.value.code or 0)
        return status, printed.err if status else printed.out

    return run


def test_programs_get_one_row(info):
    status, text = info(str(FOLDER), "--json")
    assert status == 0
    (row,) = json.loads(text)["rows"]
    assert row["name"] == "session"
    assert (row["id"], row["neurons"]) == ("99000-1-2", 24)
    assert row["streams"]["responses"]["rate_hz"] == 30.0
    assert row["streams"]["eye_tracker"]["start_s"] == pytest.approx(-0.75)
    assert row["streams"]["screen"]["rate_hz"] == pytest.approx(30, abs=0.2)
    assert row["tiers"]["validation"] == pytest.approx(4 / 60, abs=0.01)
    assert row["areas"] == {"V1": 11, "AL": 6, "LM": 4, "RL": 3}
    assert {note["code"] for note in row["warnings"]} >= {"missing_samples"}
    assert all(note["message"] for note in row["assumptions"])


@pytest.mark.parametrize("name", ["demo", "unseen"])
def test_the_demo_s_sessions_go_by_name(name, monkeypatch, info):
    monkeypatch.setitem(demo.SESSIONS, name, lambda *_: FOLDER)
    status, text = info(name)
    assert status == 0
    assert "99000-1-2" in text


def test_a_checkpoint_is_described_for_people_and_for_programs(info):
    _, text = info(str(DEMO))
    assert "90000-2-1: 1,000" in text
    _, text = info(str(DEMO), "--json")
    (row,) = json.loads(text)["rows"]
    assert row["facts"]["precision"] == "float32"
    assert row["config"]["hiera"]["embed_dim"] == 96
    assert row["facts"]["context part"] == "90000-2-1"


def test_a_twin_is_described_like_any_checkpoint(info):
    release = str(FIXTURES / "twin_parity" / "release")
    _, text = info(release)
    assert "digital twin" in text
    assert "4-7: 7 neurons" in text
    (row,) = json.loads(info(release, "--json")[1])["rows"]
    assert row["family"] == "twin"
    assert row["sessions"]["5-6"] > 0


def test_one_session_is_one():
    row = {"source": "m", "size": "custom", "value": None, "title": "M", "facts": {}, "config": {}}
    lines = list(checkpoint_lines(row | {"sessions": {"a-1": 1}, "assumptions": ()}))
    assert lines[-2:] == ["  knows 1 session, 1 neuron", "    a-1: 1 neuron"]
