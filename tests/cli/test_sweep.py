import json
import signal
from pathlib import Path

import pytest
from click.testing import Result

from omnimouse_app.cli.terminal import Progress
from omnimouse_model.data.open import open_session
from omnimouse_model.families.omnimouse.network import OmniMouse
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from tests.bench.sweep import measure
from tests.cli.runner import run_command
from tests.model.small_net import SMALL
from tests.small_sessions import simulate_mouse

ASK = ("--neurons", "4,8", "--history", "10", "--seeds", "2", "--max-windows", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mice") / "tiny"
    return simulate_mouse(folder, 20, 1.0, tests=2, times=1)


def run(folder: Path, *options: object, model: str = "context-ridge") -> Result:
    return run_command("sweep", "--model", model, "--session", folder, *options)


# A command prints the warning, which the tests turn into an error.
@pytest.mark.filterwarnings("default:context-ridge answers:UserWarning")
def test_a_sweep_that_scores_nothing_fails_and_says_how_many_there_are(folder):
    done = run(folder, "--neurons", "5000", "--seeds", "1")
    assert done.exit_code == 1
    assert "20 neurons" in done.stderr
    some = run(folder, "--neurons", "4,5000", "--seeds", "1", "--max-windows", "1")
    assert some.exit_code == 0
    assert "5,000" in some.stdout


def test_a_table_names_only_inputs_that_the_model_reads(folder):
    text = run(folder, "--history", "10,20", *("--seeds", "1", "--max-windows", "1"), model="last")
    assert text.stdout.split("\n")[3].split() == ["context", "score"]
    assert "video" not in text.stdout.partition("single-trial Pearson")[0]
    assert "+ video" not in text.stdout


@pytest.fixture
def signal_after(monkeypatch):
    """Has a signal sent once so many steps are done."""

    def send(number: int, n_done: int) -> None:
        sent = []

        def interrupt(self: Progress, done: int, total: int, what: str) -> None:
            if done == n_done and not sent:
                sent.append(number)
                signal.raise_signal(number)

        monkeypatch.setattr(Progress, "__call__", interrupt)

    return send


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_rows(folder, tmp_path, signal_after, monkeypatch, number):
    out, whole = tmp_path / "sweep.jsonl", tmp_path / "whole.jsonl"
    before = signal.getsignal(number)
    # Each point is two test windows, after 16 train windows for its means.
    signal_after(number, 2 * (16 + 2))
    stopped = run(folder, *ASK, "--out", out)
    monkeypatch.undo()
    assert stopped.exit_code == 130
    assert f"2 of 6 rows. They are in {out}" in stopped.stderr
    assert "4 neurons" in stopped.stdout
    assert "mean over draws; 95 % interval: none over 2 windows" in stopped.stdout
    assert "±" not in stopped.stdout
    assert signal.getsignal(number) is before
    assert len(out.read_text().splitlines()) == 1 + 2
    resumed = run(folder, *ASK, "--out", out, "--json")
    assert resumed.exit_code == 0
    assert resumed.stdout == run(folder, *ASK, "--out", whole, "--json").stdout
    curves = [row for row in json.loads(resumed.stdout)["rows"] if row["name"] == "curve"]
    assert curves
    # The names that `evaluate --json` has.
    assert all({"gain", "gain_ci_low", "gain_ci_high"} <= row.keys() for row in curves)
    assert "gain over the smallest context, of the same draws" in stopped.stdout
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--neurons", "16;64"), "'16;64'"),
        (("--neurons", "-4"), "'--neurons': A context has 0 neurons or more"),
        (("--history", "5"), "'--history': history_samples is 0 or 10 to 25, found 5"),
        ((), "Give --neurons or --history"),
        (("--neurons", "4", "--video", "maybe"), "'maybe'"),
        (("--neurons", "4", "--seeds", "0"), "0 is not in the range x>=1"),
    ],
)
def test_options_that_cannot_be_are_named(folder, options, message):
    done = run(folder, *options)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.slow
def test_a_window_is_timed_cold_and_live(folder):
    net = OmniMouse(SMALL, {"80001-1-1": 20}, {"80001-1-1": "mouse"}).eval()
    predictor = TransformerPredictor(net.requires_grad_(False), "small")
    (time,) = measure(predictor, open_session(folder), 1)
    assert min(time.cold, time.live, time.read, time.video) > 0
    assert predictor.counters["encodings"] == 0  # each is asked of a fresh one
