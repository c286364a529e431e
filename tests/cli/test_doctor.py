import json
from importlib.metadata import PackageNotFoundError

import pytest

from omnimouse_app.cli import doctor, main
from omnimouse_model.predict.devices import devices_of, resolve_device

EXPECTED = {
    *("python", "omnimouse-app", "torch", "napari", "device", "disk free"),
    *("cache folder", "Qt", "display", "napari plugin"),
}


@pytest.mark.gui
@pytest.mark.slow
def test_it_reports_versions_graphics_device_and_room(capsys):
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--json"])
    assert end.value.code == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(rows) >= EXPECTED
    assert rows["Qt"]["status"] == "ok"
    assert all(row["remedy"] for row in rows.values() if row["status"] != "ok")


def test_a_full_gpu_is_reported_and_ends_nothing(monkeypatch):
    def raise_full():
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "H200")
    monkeypatch.setattr("torch.cuda.mem_get_info", raise_full)
    (found,) = [one for one in doctor.device() if one.name == "device"]
    assert found.value == "cuda: H200"
    assert "Close other programs" in found.remedy


@pytest.mark.parametrize(
    ("requirement", "status", "remedy"),
    [
        ("nonsense>=3", "problem", 'pip install "nonsense>=3"'),
        ("numpy>=99.1", "problem", "99.1"),
        ("numpy>=1.26", "ok", ""),
    ],
)
def test_a_missing_or_old_package_has_an_install_line(requirement, status, remedy):
    finding = doctor.package(requirement)
    assert finding.status == status
    assert remedy in finding.remedy


def test_a_package_of_several_extras_has_one_row():
    names = [finding.name for finding in doctor.python_and_packages()]
    assert len(names) == len({*names})


def test_an_apple_gpu_is_used_on_request_alone(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    (found,) = [one for one in doctor.device() if one.name == "device"]
    assert found.status == "note"
    assert "cpu" in found.value
    assert "--device mps" in found.remedy
    assert resolve_device("auto").type == "cpu"
    assert resolve_device("mps").type == "mps"
    assert "mps" in devices_of(None)


def test_an_environment_of_the_library_alone_has_no_problem(monkeypatch):
    present = doctor.version

    def version(name):
        if name in doctor.FRONT_ENDS.values():
            raise PackageNotFoundError(name)
        return present(name)

    monkeypatch.setattr(doctor, "version", version)
    found = {one.name: one for one in doctor.examine()}
    assert [one.name for one in found.values() if one.status == "problem"] == []
    assert found["napari"].status == "note"
    assert "omnimouse-app[napari,pyqt6]" in found["napari"].remedy
    assert "Qt" not in found


def test_a_missing_python_package_is_no_missing_system_library():
    remedy = doctor.qt_remedy("ModuleNotFoundError: No module named 'OpenGL'")
    assert "pip install" in remedy
    assert "apt-get" not in remedy


@pytest.mark.parametrize(
    ("number", "binding", "python", "remedy"),
    [
        ("6.11.0", "PyQt6", (3, 13), "pyqt6-qt6==6.11.2"),
        ("6.11.0", "PySide6", (3, 13), "pyside6==6.11.2"),
        ("6.12.0", "PySide6", (3, 11), "pyside6==6.11.2"),
        ("6.12.0", "PyQt6", (3, 11), ""),
    ],
)
def test_a_broken_qt_comes_with_another(monkeypatch, number, binding, python, remedy):
    monkeypatch.setattr(doctor.sys, "version_info", python)
    found = doctor.qt(number, binding)
    assert found.status == ("problem" if remedy else "ok")
    assert remedy in found.remedy


def test_a_problem_ends_with_status_one(monkeypatch, capsys):
    bad = doctor.Finding("Qt", None, "", "problem", "Do this.")
    monkeypatch.setattr(doctor, "examine", lambda: iter([bad]))
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 1
    assert "Do this." in capsys.readouterr().out
