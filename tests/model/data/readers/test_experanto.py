import shutil

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers import experanto as experanto_reader
from tests.model.data.refusals import check_refusal
from tests.model.experanto_folder import edit_yaml, write_folder, write_spikes

N_UNITS = 5
SECONDS = 16.0
T0 = 1000.0
SPAN = T0, T0 + SECONDS


@pytest.fixture
def recording(tmp_path):
    """A session whose responses are spikes, one unit silent; and its spike times."""
    root = write_folder(tmp_path / "s", n_neurons=N_UNITS)
    draw = np.random.default_rng(8)
    spikes = [np.sort(draw.uniform(T0, T0 + SECONDS, 40 * k)) for k in range(N_UNITS)]
    write_spikes(root / "spikes", spikes, *SPAN)
    shutil.rmtree(root / "responses")
    return root, spikes


def test_counts_are_those_of_a_histogram(recording):
    root, spikes = recording
    session = open_session(root)
    n_rows = int(SECONDS * 30)
    edges = T0 + np.arange(n_rows + 1) / 30
    expected = np.stack([np.histogram(s, edges)[0] for s in spikes], axis=1)
    np.testing.assert_array_equal(session.responses.data, expected)
    np.testing.assert_array_equal(session.responses.read(100, 160), expected[100:160])
    chosen = np.array([3, 4, 77, 300])
    picked = session.responses.file.pick(chosen, slice(1, 4))
    np.testing.assert_array_equal(picked, expected[chosen, 1:4])
    assert session.units.unit_id.tolist() == [7, 8, 9, 10, 11]
    assert any(note.code == "spike_counts" for note in session.assumptions)
    window = session.window(5.0)
    begin = round(window.start_s * 30)
    rows = session.responses.index(window.times("responses"))
    assert abs(int(rows[0]) - begin) <= 1
    np.testing.assert_array_equal(
        window.responses, (expected[rows] / session.response_scale).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spike_indices": [0, 5, 3]}, "spike_indices must be ascending"),
        ({"spike_indices": "many"}, "spike_indices must be ascending"),
        ({"spike_indices": [0, 40, 10**9]}, "spike_indices and dtype of meta.yml, 1,000,000,000×8"),
        ({"end_time": T0 - 1}, "a sample or more after start_time"),
        ({"dtype": "int32"}, "spikes/spikes.mem has .* bytes; by spike_indices and dtype"),
    ],
)
def test_what_does_not_fit_is_named(recording, changes, words):
    root, _ = recording
    edit_yaml(root / "spikes" / "meta.yml", **changes)
    check_refusal(root, words)


def test_order_is_checked_everywhere(recording, monkeypatch):
    root, spikes = recording
    monkeypatch.setattr(experanto_reader, "_CHECKED", 16)
    assert open_session(root).responses.data.sum() > 0
    for at, value in ((159, T0), (48, T0), (70, np.nan)):
        bad = [unit.copy() for unit in spikes]
        bad[4][at] = value
        write_spikes(root / "spikes", bad, *SPAN)
        check_refusal(root, f"at index {240 + at}")


def test_single_precision_is_refused_where_it_loses_spikes(recording):
    root, spikes = recording
    expected = open_session(root).responses.data
    write_spikes(root / "spikes", [unit.astype(np.float32) for unit in spikes], *SPAN)
    edit_yaml(root / "spikes" / "meta.yml", dtype="float32")
    found = open_session(root).responses.data
    assert np.abs(found - expected).sum() < 0.02 * expected.sum()
    late = [(unit + 1.52e9).astype(np.float32) for unit in spikes]
    for dtype in ("float32", "float64"):
        write_spikes(root / "spikes", [unit.astype(dtype) for unit in late], *SPAN)
        about = {"start_time": T0 + 1.52e9, "end_time": T0 + SECONDS + 1.52e9}
        edit_yaml(root / "spikes" / "meta.yml", dtype=dtype, **about)
        check_refusal(root, "times quantised to 128 s")
