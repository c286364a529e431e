"""`omnimouse info`: what a session holds, for people and for programs."""

import json

import pytest

from omnimouse_app.cli import main
from omnimouse_model.demo import CHECKPOINT
from tests.model.experanto_folder import write_folder


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the command line; its exit status and what it printed where it went."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    status = int(ended.value.code or 0)
    return status, printed.err if status else printed.out


def test_people_read_what_is_in_a_session(root, capsys):
    folder = root / "tests/fixtures/sessions/experanto_small"
    status, text = run(["info", str(folder)], capsys)
    assert status == 0
    for expected in (
        "Session 99000-1-2, animal 99000",
        "24 neurons",
        "pupil_size, pupil_dsize, pupil_x, pupil_y",
        "549 frames of 36×64",
        "final_test_1",
        "V1: 11",
        "taken to be cm/s",
        "1 of 24 neurons never vary",
    ):
        assert expected in text


def test_programs_get_one_row(root, capsys):
    folder = root / "tests/fixtures/sessions/experanto_small"
    status, text = run(["info", str(folder), "--json"], capsys)
    assert status == 0
    document = json.loads(text)
    (row,) = document["rows"]
    assert row["name"] == "session"
    assert (row["id"], row["neurons"]) == ("99000-1-2", 24)
    assert row["streams"]["responses"]["rate_hz"] == 30.0
    assert row["streams"]["eye_tracker"]["start_s"] == pytest.approx(-0.75)
    assert row["streams"]["screen"]["rate_hz"] == pytest.approx(30, abs=0.2)
    assert row["tiers"]["validation"] == pytest.approx(4 / 60, abs=0.01)
    assert row["areas"] == {"V1": 11, "AL": 6, "LM": 4, "RL": 3}
    assert {note["code"] for note in row["warnings"]} >= {"missing_samples"}
    assert all(note["message"] for note in row["assumptions"])


def test_a_bare_session_is_described_too(tmp_path, capsys):
    folder = write_folder(tmp_path / "bare", streams=("responses",), identity=False)
    (folder / "responses/meta/area.npy").unlink()
    status, text = run(["info", str(folder)], capsys)
    assert status == 0
    assert "Areas   not stored" in text
    assert "the session has no screen" in text
    assert text.splitlines()[-1].endswith(", but has no video, no pupil, no running.")


@pytest.mark.parametrize("name", ["demo", "unseen"])
def test_the_demo_s_sessions_go_by_name(name, root, monkeypatch, capsys):
    folder = root / "tests/fixtures/sessions/experanto_small"
    monkeypatch.setattr(f"omnimouse_model.demo.{name}_session", lambda _: folder)
    status, text = run(["info", name], capsys)
    assert status == 0
    assert "Session 99000-1-2" in text


def test_people_read_what_matters_of_a_checkpoint_and_programs_everything(capsys):
    _, text = run(["info", str(CHECKPOINT)], capsys)
    for expected in ("parameters, float32", "2 layers of width", "90000-2-1: 1,000"):
        assert expected in text
    assert len(text.splitlines()) < 16
    _, text = run(["info", str(CHECKPOINT), "--json"], capsys)
    (row,) = json.loads(text)["rows"]
    assert row["precision"] == "float32"
    assert row["config"]["hiera"]["embed_dim"] == 96


def test_a_broken_session_ends_with_one_line(tmp_path, capsys):
    folder = write_folder(tmp_path / "broken")
    (folder / "responses/meta.yml").write_text("modality: sequence\n rate: 3\n")
    for extra in ([], ["--json"]):
        status, text = run(["info", str(folder), *extra], capsys)
        assert status == 1
        assert len(text.splitlines()) == 1
        assert "responses/meta.yml line 2: not valid YAML" in text


def test_a_path_that_is_not_there_ends_with_one_line(tmp_path, capsys):
    status, text = run(["info", str(tmp_path / "nowhere")], capsys)
    assert status == 1
    assert "does not exist" in text
