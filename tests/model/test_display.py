"""Objects that a user prints: short text, HTML for any theme, and data frames."""

import sys
from dataclasses import replace

import numpy as np
import pandas
import pytest

import omnimouse_model as om
from omnimouse_model.display import (
    data_frame,
    difference_text,
    interval_text,
    number_text,
    printable,
)
from omnimouse_model.errors import (
    AnalysisFileError,
    CheckpointError,
    ExportError,
    MaskError,
    SessionFormatError,
    UnsupportedRequestError,
)

STRATEGY = "causal_response_25_behavior"


@pytest.fixture(scope="module")
def results(session):
    predictor, starts = om.load_predictor("last"), session.window_starts()[:2]
    mask, window = om.Mask.from_strategy(STRATEGY, session), session.window(starts[0])
    scores = om.evaluate([predictor, "mean"], session.path, STRATEGY, starts=starts)
    sweep = om.context_sweep(
        "last", session, history_samples=[10, 20], seeds=2, tier="train", max_windows=2
    )
    prediction = predictor.predict(window, mask)
    return {type(v).__name__: v for v in (mask, window, prediction, scores, sweep)}


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (-0.034, {}, "−0.03"),
        (-0.001, {}, "0.00"),
        (12345.6, {"digits": 0}, "12,346"),
        (0.2, {"digits": 3, "sign": "+"}, "+0.200"),
        (-2.5e-9, {"kind": "g"}, "−2.5e−09"),
        (np.nan, {}, "–"),
    ],
)
def test_a_number_has_a_minus_sign_and_a_dash_if_it_is_not_known(value, options, text):
    assert number_text(value, **options) == text


def test_a_number_without_an_interval_stands_alone():
    assert interval_text(-0.1, -0.2, 0.05) == "−0.100 [−0.200, 0.050]"
    assert interval_text(0.5, np.nan, np.nan, 2) == "0.50"
    assert interval_text(np.nan, np.nan, np.nan) == "–"


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.0214, 0.0031, 0.0397, "+0.021 [+0.003, +0.040]"),
        (-0.0214, -0.204, 0.162, "−0.02 [−0.20, +0.16]"),
        (0.00123, 0.00077, 0.00169, "+0.00123 [+0.00077, +0.00169]"),
        (0.0001, 6e-5, 14e-5, "+0.000100 [+0.000060, +0.000140]"),
        (0.1, 0.1 - 3e-17, 0.1 + 3e-17, "+0.10"),
        (-1e-9, -1.8, 1.8, "+0.00 [−1.80, +1.80]"),
        (0.0214, np.nan, np.nan, "+0.02"),
        (np.nan, np.nan, np.nan, "–"),
    ],
)
def test_a_difference_has_the_digits_of_its_interval(value, low, high, text):
    assert difference_text(value, low, high) == text


def test_text_and_html_are_short_and_without_arrays_and_colours(results):
    for name, value in results.items():
        text, html = repr(value), value._repr_html_()
        assert text.startswith(f"{name}: ")
        assert len(text) < 400
        assert "array" not in text
        assert "color" not in html
        assert html.count("<tr") <= 15


def test_data_frames_have_one_row_per_value_and_units_in_the_names(results, session):
    tables = {name: value.to_dataframe() for name, value in results.items()}
    n_cells = 60 * session.n_neurons
    for name in ("Mask", "Window"):
        assert len(tables[name]) == n_cells
    mask, window = results["Mask"], results["Window"]
    scored = tables["Mask"].query("is_scored")
    predicted = tables["Prediction"]
    assert len(predicted) == np.isfinite(results["Prediction"].responses).sum()
    assert set(scored.neuron) == set(predicted.neuron)
    assert (tables["Mask"].state == "target").sum() == mask.target.sum()
    row = tables["Window"].query("sample == 7 and neuron == 3").iloc[0]
    assert row.time_s == pytest.approx(window.start_s + 7 / 30)
    np.testing.assert_equal(row.response_normalised, window.responses[7, 3])
    assert set(window.to_dataframe("behavior").channel) == set(window.behavior_names)
    assert set(tables["Scores"].predictor) == {"last", "mean"}
    assert len(tables["ContextSweep"]) == 4


def test_a_prediction_of_behaviour_alone_has_rows_of_behaviour(results, session):
    window, shape = results["Window"], results["Window"].behavior.shape
    decoded = replace(
        results["Prediction"],
        responses=np.full_like(results["Prediction"].responses, np.nan),
        behavior=np.ones(shape, np.float32),
    )
    table = decoded.to_dataframe(window)
    assert len(table) == window.behavior.size
    assert set(table.channel) == set(window.behavior_names)
    row = table.query("sample == 7").iloc[0]
    assert (row.behavior_z_scored, row.time_s) == (1.0, pytest.approx(window.start_s + 7 / 20))
    np.testing.assert_equal(row.recorded_z_scored, window.behavior[7, 0])
    # Without the window, nobody knows whether the model predicts raw values.
    assert decoded.to_dataframe().columns.tolist() == ["sample", "channel", "behavior"]
    short = replace(decoded, behavior=np.ones((3, shape[1]), np.float32))
    with pytest.raises(ValueError, match="give the window that was predicted"):
        short.to_dataframe(window)
    later = session.window(start_s=window.start_s + 1)
    for prediction in (replace(decoded, times_s=window.sample_times_s), results["Prediction"]):
        with pytest.raises(ValueError, match="give the window that was predicted"):
            prediction.to_dataframe(later)


def test_a_column_of_numbers_without_any_is_one_of_nan(results):
    table = results["Scores"].to_dataframe()  # two windows are too few for an interval
    assert table.ci_low.isna().all()
    assert table.ci_low.round(2).dtype == float
    assert table.note.tolist() == ["", ""]
    texts = data_frame([{"area": "V1", "score": None}, {"area": None, "score": None}])
    assert texts.area.equals(pandas.DataFrame({"area": ["V1", None]}).area)
    assert texts.score.dtype == float


def test_a_data_frame_without_pandas_names_the_package(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExportError, match=r"pandas .* \"omnimouse-app\[analysis\]\""):
        results["Mask"].to_dataframe()


def test_dir_lists_the_public_names_alone():
    assert {"Mask", "evaluate", "TimeRangeError"} <= set(dir(om))
    assert not {name for name in dir(om) if name.startswith("_")}
    assert not {"Any", "import_module", "TYPE_CHECKING"} & set(dir(om))


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1b(0graphics", "graphics"),
        ("two\nlines\r\b", "two\N{REPLACEMENT CHARACTER}lines" + 2 * "\N{REPLACEMENT CHARACTER}"),
        ("txt.\N{RIGHT-TO-LEFT OVERRIDE}exe", "txt.\N{REPLACEMENT CHARACTER}exe"),
        ("µ 3\N{NO-BREAK SPACE}Hz – ünïcode", "µ 3\N{NO-BREAK SPACE}Hz – ünïcode"),
    ],
)
def test_a_text_from_a_file_cannot_control_a_terminal(hostile, shown):
    assert printable(hostile) == shown


def test_a_name_from_a_file_is_printed_without_control_characters(tmp_path):
    values = {"responses": np.ones((600, 5)), "rate_hz": 30.0, "id": "a\x1b]0;title\x07b"}
    assert "id ab;" in repr(om.open_session(values))


@pytest.mark.parametrize(
    "error",
    [
        lambda text: SessionFormatError("a", "code", text),
        lambda text: AnalysisFileError("field", text),
        CheckpointError,
        MaskError,
        UnsupportedRequestError,
    ],
)
def test_errors_with_texts_of_files_are_short_and_control_no_terminal(error):
    text = str(error("\x1b[2J\u202e\nname" + "x" * 10**6))
    assert len(text) < 2100
    assert text.replace("\n", "").isprintable()
    # macOS writes such a space into the names of recorded screens.
    assert "9.00.00\u202fAM" in str(error("9.00.00\u202fAM\x07"))
