import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.conversion.write import convert
from omnimouse_model.masks.neuron_table import matching_neurons, table_columns
from tests.model.data.readers.test_arrays import session_arrays
from tests.model.data.refusals import check_refusal
from tests.model.trial_tree_folder import N_UNITS, write_tree

SCORES = """session,scan_idx,unit_id,cc_abs,cell_type
4,7,102,0.5,L4
4,7,100,0.25,
8,5,100,0.75,L5
4,7,999,0.125,L6
"""


@pytest.fixture
def arrays():
    """Five neurons with the ids 100 to 104, in the scan 4-7."""
    made = session_arrays()
    n = made["responses"].shape[1]
    taken = ("area", "xyz_um")
    made = {name: value for name, value in made.items() if name not in taken}
    return made | {"unit_ids": 100 + np.arange(n), "id": "17797-4-7"}


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "properties"
    for name, text in {
        "performance/units": SCORES,
        "anatomy/units": "unit_id,unit_x,unit_y,unit_z,brain_area,field\n"
        "100,1,2,3,V1,1\n101,4,5,6,LM,2\n",
        "readout/units": "session,scan_idx,unit_id\n8,5,1\n4,7,101\n4,7,100\n",
        "scans": "session,scan_idx\n4,7\n",
    }.items():
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(folder / "readout" / "readout_weights.npy", weights)
    return folder


def test_rows_are_joined_by_session_scan_and_unit(arrays, tables):
    session = om.open_session(arrays, unit_tables=tables)
    columns = table_columns(session)
    expected = np.full(session.n_neurons, np.nan)
    expected[[0, 2]] = 0.25, 0.5
    np.testing.assert_array_equal(columns["cc_abs"], expected)
    assert columns["cell_type"][:3].tolist() == ["", "", "L4"]
    assert matching_neurons("cc_abs>0.3", columns).tolist() == [2]
    assert matching_neurons("L4", columns).tolist() == [2]
    assert session.units.area[:3].tolist() == ["V1", "LM", ""]
    np.testing.assert_array_equal(session.units.xyz_um[1], [4, 5, 6])
    weights = session.units.properties["readout_weights"]
    np.testing.assert_array_equal(weights[:2], [[8, 9, 10, 11], [4, 5, 6, 7]])
    assert np.isnan(weights[2:]).all()
    assert "readout_weights" not in columns


def test_what_the_recording_states_is_kept(tables):
    made = session_arrays()
    n = made["responses"].shape[1]
    areas = np.full(n, "AL")
    made |= {"unit_ids": 100 + np.arange(n), "id": "a-4-7", "area": areas}
    session = om.open_session(made, unit_tables=tables)
    assert set(session.units.area) == {"AL"}


def test_neurons_without_ids_are_the_rows_in_order(tmp_path):
    write_tree(tmp_path / "tree")
    path = tmp_path / "units.csv"
    ids = [3, 5, 8, 13, 21, 34]
    rows = [f"4,7,{unit},{k}" for k, unit in enumerate(ids)]
    path.write_text("\n".join(["session,scan_idx,unit_id,osi", *rows]))
    session = om.open_session(tmp_path / "tree", unit_tables=path)
    assert session.units.unit_id.tolist() == ids
    np.testing.assert_array_equal(session.units.properties["osi"], np.arange(N_UNITS))
    assert any(note.code == "unit_order" for note in session.assumptions)


def test_a_store_keeps_them(arrays, tables, tmp_path):
    session = om.open_session(arrays, unit_tables=tables)
    again = om.open_session(convert(session, tmp_path / "m.omses.zarr"))
    assert again.units.properties.keys() == session.units.properties.keys()
    for name, values in session.units.properties.items():
        np.testing.assert_array_equal(again.units.properties[name], values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unit,cc\n1,2\n", "no column unit_id; found: unit, cc"),
        ("unit_id,cc\n100,1\n100,2\n", "unit_id of one session twice"),
        ("unit_id,cc\n1e3,1\n", "whole number in column unit_id"),
        ("unit_id,cc\n100\n", "row 1 has 1 cells"),
        ("unit_id,cc\n100," + "9" * 200_000, "table|characters"),
        ("unit_id,cc\n7,1\n", r"none of the recording's units \(100, 101"),
        ("session,scan_idx,unit_id\n1,1,100\n", "no row of session 17797-4-7"),
        ("", "no column unit_id"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(arrays, tmp_path, text, words):
    path = tmp_path / "units.csv"
    path.write_text(text)
    check_refusal(arrays, words, unit_tables=path)


def test_a_folder_without_tables_is_refused(arrays, tmp_path):
    check_refusal(arrays, "no table of units", unit_tables=tmp_path)
