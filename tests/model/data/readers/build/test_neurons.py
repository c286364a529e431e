import pickle

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.live.first_view import first_view
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
    path.write_text("unit_id,osi\n3,0.5\n5,0.25\n")
    check_refusal(tmp_path / "tree", "has 2 rows for 6 neurons", unit_tables=path)


def test_neurons_with_ids_from_0_are_joined_by_them(tmp_path):
    made = session_arrays()
    n = made["responses"].shape[1]
    path = tmp_path / "units.csv"
    rows = [f"{unit},{10 * unit}" for unit in reversed(range(n))]
    path.write_text("\n".join(["unit_id,cc", *rows]))
    session = om.open_session(made | {"unit_ids": np.arange(n)}, unit_tables=path)
    assert session.units.unit_id.tolist() == list(range(n))
    np.testing.assert_array_equal(session.units.properties["cc"], 10 * np.arange(n))


def test_columns_that_are_not_joined_are_noted(arrays, tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("\ufeffunit_id,cc norm,depth,cc\r\n100.0, 1 ,2,NA\r\n101,1,2,0.5\r\n")
    session = om.open_session(arrays, unit_tables=path)
    assert list(session.units.properties) == ["cc"]
    np.testing.assert_array_equal(session.units.properties["cc"][:2], [np.nan, 0.5])
    note = next(n for n in session.assumptions if n.code == "left_out_columns")
    assert "cc norm" in note.message
    assert "depth" in note.message


def test_a_name_that_ends_with_a_date_is_no_scan(tables):
    made = session_arrays()
    n = made["responses"].shape[1]
    made |= {"unit_ids": 1 + np.arange(n), "id": "rec-2023-05-12"}
    path = tables / "one.csv"
    path.write_text("session,scan_idx,unit_id,cc\n4,7,1,0.5\n")
    assert om.open_session(made, unit_tables=path).units.properties["cc"][0] == 0.5


def test_a_copy_of_a_session_reads_a_table_that_changed(tmp_path):
    made = session_arrays()
    ids = {"unit_ids": np.arange(made["responses"].shape[1])}
    np.savez(tmp_path / "a.npz", **(made | ids))
    path = tmp_path / "units.csv"
    for value in (0.25, 0.75):
        path.write_text(f"unit_id,cc\n0,{value}\n" + "\n" * round(10 * value))
        session = om.open_session(tmp_path / "a.npz", unit_tables=path)
        again = pickle.loads(pickle.dumps(session))
        assert again.units.properties["cc"][0] == value


def test_rows_of_empty_cells_are_no_units(arrays, tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("unit_id,cc\r\n100,0.5\r\n,\r\n , \r\n", newline="")
    session = om.open_session(arrays, unit_tables=path)
    assert session.units.properties["cc"][0] == 0.5


def test_an_analysis_opens_without_a_table_that_was_moved(tmp_path):
    np.savez(tmp_path / "a.npz", **session_arrays())
    options = {"unit_tables": str(tmp_path / "moved.csv")}
    view = first_view(tmp_path / "a.npz", "nothing", options=options)
    note = next(n for n in view.session.warnings if n.code == "missing_tables")
    assert "moved.csv" in note.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unit,cc\n1,2\n", "no column unit_id; found: unit, cc"),
        ("unit_id,cc\n100,1\n100,2\n", "unit_id of one session twice"),
        ("unit_id,cc\n1e3,1\n", "row 1: unit_id is '1e3', no whole number"),
        ("unit_id,cc,cc\n100,1,2\n", "has column 'cc' twice"),
        ("unit_id;cc\n100;1\n", "separate columns by commas"),
        ("session,unit_id\n4,100\n", "only one of the columns session and scan_idx"),
        ('unit_id,cc\n100,"1\n101,2\n', "no CSV table"),
        ("unit_id,cc\n100\n", "row 1 has 1 cells"),
        ("unit_id,cc\n100," + "9" * 200_000, "table|characters"),
        ("unit_id,cc\n7,1\n", r"none of the recording's units \(100, 101"),
        ("session,scan_idx,unit_id\n1,1,100\n1,2,100", "no row of session 17797-4-7"),
        ("unit_id," + "c," * 1_000_000, "1,000,002 columns"),
        ("", "no column unit_id"),
        (
            b"PK\x03\x04\x14\xff",
            "is a workbook of Excel or an archive.*export it as CSV, or unpack",
        ),
        (b"PAR1", "is a table of Parquet.*export it as CSV"),
        (b"\x1f\x8b\x08", "is compressed.*unpack it"),
        ("unit_id,cc\n100,1\n".encode("utf-16"), "is text in UTF-16.*save it as UTF-8"),
        ("unit_id,cc\n100,1\n".encode("utf-32"), "is text in UTF-32.*save it as UTF-8"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(arrays, tmp_path, text, words):
    path = tmp_path / "units.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    check_refusal(arrays, words, unit_tables=path)


def test_a_folder_without_tables_is_refused(arrays, tmp_path):
    check_refusal(arrays, "no table of units", unit_tables=tmp_path)
    check_refusal(arrays, "does not exist", unit_tables=tmp_path / "none.csv")


def test_tables_that_do_not_fit_each_other_are_refused(arrays, tables):
    (tables / "tuning").mkdir()
    (tables / "tuning" / "units.csv").write_text("unit_id,cc_abs\n100,1\n")
    words = "has column 'cc_abs', and so has performance/units.csv"
    check_refusal(arrays, words, unit_tables=tables)
    (tables / "tuning" / "units.csv").unlink()
    np.save(tables / "readout" / "readout_weights.npy", np.zeros((5, 4), np.float32))
    check_refusal(arrays, r"is \(5, 4\); \(3, ", unit_tables=tables)
