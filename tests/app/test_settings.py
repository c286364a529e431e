"""Preferences of the plugin: defaults, and what napari has stored."""

from types import SimpleNamespace

import pytest

from omnimouse_app.window.instrument import Preferences, preferences


@pytest.fixture
def config(monkeypatch, tmp_path):
    """Folder of napari's settings, and the plugins whose settings were read."""
    reads: list[str] = []
    saved = SimpleNamespace(predictor="mean", in_process=True, brush_radius=3)

    def get_plugin_settings(name):
        reads.append(name)
        return SimpleNamespace(opening=saved)

    own = SimpleNamespace(config_path=tmp_path / "settings.yaml")
    monkeypatch.setattr("napari.settings.get_settings", lambda: own)
    monkeypatch.setattr("napari.settings.get_plugin_settings", get_plugin_settings)
    return tmp_path, reads


def test_defaults_need_no_manifest_of_any_plugin(config):
    assert preferences() == Preferences()
    assert config[1] == []


def test_stored_preferences_are_read(config):
    (config[0] / "omnimouse-app.yaml").write_text("opening:\n  in_process: true\n")
    assert preferences() == Preferences("mean", True, 3.0)
    assert config[1] == ["omnimouse-app"]
