import json
import re
import shutil
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_app.cli.terminal import Progress
from omnimouse_model.analysis.stimulus_edits import Contrast
from omnimouse_model.display import number_text
from omnimouse_model.errors import ExportError, StoppedError
from omnimouse_model.evaluation.running_score import window_scores
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project.exports import ScreenContent
from omnimouse_model.live.report import ReportCondition, ReportData, report_of_screen
from omnimouse_model.metrics.named import score_summary, scores_by_area
from omnimouse_model.predict.predictor import Prediction
from omnimouse_model.simulate import HeldOut, MouseSpec, write_session
from omnimouse_model.simulate.spiking_laboratory import spiking_arrays
from omnimouse_widgets.report.page import report_page, write_report
from omnimouse_widgets.views.text.tier_score import IN_TRAIN
from tests.cli.runner import run_command

HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    held_out = HeldOut(validation=1, final_test_1=3, oracle_clips=1, oracle_repeats=1)
    spec = MouseSpec("tiny", "1-1-1", 1, 2, 30, 1.5, held_out)
    return write_session(spec, tmp_path_factory.mktemp("mice") / "tiny")


def edited_controller(recording: Path) -> Controller:
    """Pinned, edited, beside a baseline."""
    controller = Controller(synchronous=True)
    controller.model.choose("video-ridge")
    controller.loader.open_now(recording)
    controller.editor.apply_preset("video_only")
    controller.pins.pin(f"pin {HOSTILE}")
    controller.editor.apply_preset("video_behavior")
    controller.model.choose_baseline("mean")
    controller.selection.select([3, 7])
    controller.stimulus_edits.put(Contrast(0.5))
    return controller


@pytest.fixture(scope="module")
def shared_controller(folder):
    controller = edited_controller(folder)
    yield controller
    controller.close()


@pytest.fixture(scope="module")
def report(shared_controller, saved_facts):
    return report_of_screen(shared_controller)


@pytest.fixture(scope="module")
def saved_facts(shared_controller, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "ask.omnimouse.json"
    assert shared_controller.project.save(path)
    return json.loads(path.read_text())


@pytest.fixture
def analysis(saved_facts, tmp_path):
    path = tmp_path / "ask.omnimouse.json"
    path.write_text(json.dumps(saved_facts))
    return path


@pytest.fixture
def controller(folder):
    """One of its own for what changes it."""
    controller = edited_controller(folder)
    yield controller
    controller.close()


class Page(HTMLParser):
    """Tables as rows of words; every tag and attribute; whether tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self._is_cell = False
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag != "meta":
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._is_cell = self._is_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        """The first row of that name, without it."""
        return next(row[1:] for row in self.rows if row and row[0] == name)


def cells(scores: np.ndarray) -> list[str]:
    found = score_summary(scores)
    values = (found.mean, found.median, found.low, found.high)
    return [str(found.n), *(number_text(one, 3) for one in values)]


def test_a_long_command_shows_the_time_left(capsys):
    now_s = 0.0
    with Progress(lambda: now_s) as progress:
        progress(1, 10, "windows")
        now_s = 7.0
        progress(2, 10, "windows")
        now_s = 7.5
        progress(3, 10, "soon after")
    assert capsys.readouterr() == ("", " 20 %  windows, 56 s left\n")


def test_the_page_has_the_numbers_of_the_library(analysis, saved_facts, tmp_path, monkeypatch):
    # Its scores are computed, not those that an earlier run has stored.
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    told = []
    show = "omnimouse_app.cli.terminal.Progress.show_share"
    monkeypatch.setattr(show, lambda self, share, text: told.append(text))
    done = run_command("report", analysis)
    assert done.exit_code == 0, done.output
    steps = [text.partition(":")[0] for text in told]
    assert [*dict.fromkeys(steps)] == [f"Step {k} of 5" for k in (3, 4, 5)]
    assert str(tmp_path / "ask.html") in done.stdout
    text = (tmp_path / "ask.html").read_text("utf-8")
    page, facts = Page(text), saved_facts
    session = om.open_session(facts["recording"]["path"])
    window, mask = session.window(facts["start_s"]), om.Mask.from_dict(facts["mask"])
    predictor = om.load_predictor("video-ridge", [session])
    in_tier = om.evaluate(predictor, session, mask).scores[0]
    values = np.full(session.n_neurons, np.nan)
    values[in_tier.neurons] = in_tier.per_neuron
    assert page.row("all") == cells(values)
    assert f"over {in_tier.n_windows} test windows" in text
    areas = scores_by_area(values, session.units.area)
    assert areas
    for area, part in areas:
        summary = [str(part.n), number_text(part.mean, 3), number_text(part.median, 3)]
        assert page.row(area)[:3] == summary

    pinned = om.Mask.from_dict(facts["pins"][0]["mask"])
    beside = predictor.predict(window, pinned)
    mean = om.load_predictor("mean", [session])
    answers = [p.predict(window, mask) for p in (predictor, mean)]
    in_window, *others = [window_scores(a, window) for a in (*answers, beside)]
    for neuron in (3, 7):
        each = [number_text(float(s[neuron]), 3) for s in (in_window, *others)]
        assert page.row(str(session.units.unit_id[neuron])) == each
    assert ("<h2>Decoded behaviour" in text) == (beside.behavior is not None)

    changed = om.what_if(predictor, window, mask, [Contrast(0.5)])
    most = int(changed.most_changed(1)[0])
    at = int(np.flatnonzero(changed.neurons == most)[0])
    name = str(session.units.unit_id[most])
    found = next(r for r in page.rows if len(r) == 3 and r[0] == name)
    assert found[1] == number_text(float(changed.change[at]), 3)
    assert mask.mask_id in text
    assert "hidden → target: 30" in text
    assert "om.load_predictor(&#x27;video-ridge&#x27;" in text


def test_a_spiking_window_is_told_in_its_own_rates_and_units():
    session = om.open_session(spiking_arrays())
    spec = om.WindowSpec(3.0, 50.0, responses="count", align="trial")
    window, mask = session.window(20.0, spec), om.Mask.nothing(session, spec).ask([3])
    rates = np.full((150, 1), 4.0, np.float32)
    answer = Prediction(rates, np.array([3]), None, mask.mask_id, "flat", units="spikes/s")
    shown = ScreenContent(session, window, mask, (3,), answer, None, None, "")
    screen = ReportCondition("screen", "", "by hand", "flat", mask, answer)
    text = report_page(ReportData("spikes", "now", shown, "flat", "", (screen,)))
    Page(text)
    assert "150 samples at 50 Hz" in text
    assert "the model reads no video" in text
    assert "Responses in spikes/s" in text
    assert "video frame" not in text


def test_conditions_are_compared_over_the_neurons_common_to_all(controller):
    rows = Page(report_page(report_of_screen(controller))).rows
    assert not any("in common" in row[0] for row in rows if row)
    controller.pins.unpin(0)
    controller.model.choose_baseline("")
    controller.editor.apply_preset("random_half_video_behavior")
    controller.pins.pin("half")
    controller.editor.apply_preset("video_only")
    report = report_of_screen(controller)
    half = np.flatnonzero(np.isfinite(report.conditions[1].scores))
    assert len(half) == 15
    rows = Page(report_page(report)).rows
    [head] = [at for at, row in enumerate(rows) if row[:1] == ["over the 15 in common"]]
    for condition, row in zip(report.conditions, rows[head + 1 :], strict=False):
        assert row[2:] == cells(condition.scores[half])
    targets = np.flatnonzero(report.conditions[1].mask.target.any(axis=0))
    others = np.setdiff1d(np.arange(30), targets)
    nothing = om.Mask.nothing(30).with_frames(True)
    controller.editor.set_mask(nothing.show(targets).ask(others))
    text = report_page(report_of_screen(controller))
    assert "No neuron is scored under every condition" in text


def test_numbers_of_a_window_name_its_tier_and_warn_of_train(report, controller):
    text = report_page(report)
    assert "in this window (test part of the recording)" in text
    assert "Scores in the boxes: in this window" in text
    assert IN_TRAIN not in text
    session = controller.state.session
    controller.navigation.seek(float(session.window_starts("train")[0]))
    controller.requests.finish_scores()
    text = report_page(report_of_screen(controller))
    in_tier = controller.results.tier_score
    n_windows = in_tier.n_total
    assert f"Scores in the boxes: over {n_windows} test windows" in text
    assert "r in this window (train part of the recording)" in text
    assert text.count(IN_TRAIN) == 2  # above the conditions and the traces
    over_tier = [row for row in Page(text).rows if f"over {n_windows} test windows" in row]
    assert over_tier[0][3:] == cells(controller.results.shown_scores)


def test_unfinished_scores_are_compared_over_the_windows_that_all_have(controller):
    controller.requests.finish_scores()
    report = report_of_screen(controller)
    screen, baseline, *_ = report.conditions
    score, other = screen.tier_score, baseline.tier_score
    assert score.n_windows == other.n_windows == score.n_total
    early = max(n for n in score.steps if n < score.n_windows)
    steps = {n: step for n, step in score.steps.items() if n <= early}
    part = replace(screen, tier_score=replace(score, n_windows=early, steps=steps))
    text = report_page(replace(report, conditions=(part, baseline)))
    rows = [
        row
        for row in Page(text).rows
        if row[2:3] == [f"over {early} of {score.n_total} test windows"]
    ]
    means = [number_text(one.steps[early][0], 3) for one in (score, other)]
    assert [row[4] for row in rows] == means
    assert all(row[5:] == ["–"] * 3 for row in rows)
    assert "Scoring is unfinished" in text
    assert "Scoring is unfinished" not in report_page(report)
    late = replace(
        baseline, tier_score=replace(other, steps={other.n_total: other.steps[other.n_total]})
    )
    text = report_page(replace(report, conditions=(part, late)))
    assert "no windows that all have yet" in text


def test_a_point_of_two_curves_is_one_row_and_zero_has_no_sign(report, folder):
    sweep = om.context_sweep(
        "context-ridge", folder, neurons=[0, 8], history_samples=[0], seeds=1, max_windows=2
    )
    text = report_page(replace(report, sweeps=(("swept", sweep),)))
    assert sum(row[1:2] == ["no responses"] for row in Page(text).rows) == 1
    assert "history samples" not in text
    assert not re.search(r">[−-]0(\.0*)?<", text)


def test_conditions_are_called_by_mask_and_model(controller):
    session = controller.state.session
    controller.editor.set_mask(om.Mask.from_strategy("test/video_behavior", session))
    names = [one.name for one in report_of_screen(controller).conditions[:2]]
    assert names == ["Video + behaviour · video-ridge", "Video + behaviour · mean"]


def test_a_live_report_is_whole_or_not_there(shared_controller, report, tmp_path):
    path = tmp_path / "page.html"
    assert write_report(shared_controller, path) == path
    made = re.sub(r"Made [^<]*", "", path.read_text("utf-8"))
    assert made == re.sub(r"Made [^<]*", "", report_page(report))

    def tell(words: str, share: float | None = None) -> None:
        if share:
            raise StoppedError

    stopped = tmp_path / "stopped.html"
    with pytest.raises(StoppedError):
        write_report(shared_controller, stopped, tell)
    assert not [p for p in tmp_path.iterdir() if "stopped" in p.name]
    with pytest.raises(ExportError, match="Open a recording"):
        write_report(Controller(synchronous=True), stopped)


def test_hostile_names_are_words(controller, folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / "x<script>alert(2)<")
    controller.loader.open_now(place)
    controller.pins.pin(f"pin {HOSTILE}")
    path = tmp_path / "<script>b.omnimouse.json"
    assert controller.project.save(path)
    text = report_page(report_of_screen(controller))
    assert Page(text).tags.count("script") == 2
    assert text.count("<script") == text.count("</script>") == 2
    assert text.count("&lt;script&gt;") >= 4
    assert f"pin {HOSTILE}" in unescape(text)
    assert "<script>b" in unescape(text)
    assert str(place) in unescape(text)


def test_a_missing_recording_can_be_given(analysis, saved_facts, folder, tmp_path):
    gone = str(tmp_path / "recordings" / "tiny")
    recording = saved_facts["recording"] | {"path": gone, "beside": ""}
    analysis.write_text(json.dumps(saved_facts | {"recording": recording}))
    refused = run_command("report", analysis)
    assert refused.exit_code == 1
    assert "--recording PLACE" in str(refused.exception)
    assert not (tmp_path / "ask.html").exists()
    out = tmp_path / "page.html"
    done = run_command("report", analysis, "--recording", folder, "--out", out)
    assert done.exit_code == 0, done.output
    assert str(folder) in out.read_text("utf-8")


def test_the_page_has_the_pins_names_spans_and_says_what_it_leaves_out(report):
    text = unescape(report_page(report))
    assert f"pin {HOSTILE}" in text
    # One title for all samples or frames that are alike.
    assert re.search(r"samples \d+–59: \d+ target", text)
    assert "video frames 0–59: visible" in text
    assert "It has no predictions over longer spans" in text
    assert re.search(r"Nothing was there for: .*Laboratory, What drives a neuron\.", text)
