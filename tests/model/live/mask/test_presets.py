"""Presets of the masking schemes: what they ask, and their regions."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import MaskError
from omnimouse_model.families.ndt.predictor import TRIALS
from omnimouse_model.live.first_view import first_view
from omnimouse_model.live.mask.presets import (
    FORECAST,
    PRESETS,
    fallback_for,
    is_possible,
    is_preset,
    lack,
    mask_for,
    preset_for,
    preset_named,
    presets_of,
)
from omnimouse_model.masks import scored_cells
from omnimouse_model.masks.schemes import nearest_scheme
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.predictors import open_controller

REGIONAL = ("inter_region", "intra_region")


@pytest.fixture(scope="module")
def arrays():
    return spiking_arrays(SpikingSpec(n_trials=3))


@pytest.fixture(scope="module")
def session(arrays):
    return om.open_session(arrays)


@pytest.fixture(scope="module")
def one_region(arrays):
    n_units = len(arrays["unit_ids"])
    return om.open_session({**arrays, "area": np.full(n_units, "V1")})


@pytest.mark.parametrize(
    ("preset", "scheme"),
    [
        ("co_smoothing", "neuron"),
        ("causal", "causal"),
        ("inter_region/HPC", "inter-region"),
        ("intra_region/HPC", "intra-region"),
    ],
)
def test_a_scheme_s_preset_has_the_prompt_of_the_scheme(session, preset, scheme):
    mask = mask_for(preset, session, [1, 23]).stretched(TRIALS)
    areas = session.units.area
    assert nearest_scheme(mask.cells, areas.tolist()) == scheme
    asked = mask.target.any(axis=0)
    assert asked[23]
    if "/" in preset:
        assert set(areas[asked]) == {"HPC"}
    assert not mask.frames.any()
    assert not mask.has_visible_behavior


def test_the_region_is_that_of_the_selected_neuron_or_chosen(session):
    target = mask_for("inter_region", session, [23]).target.any(axis=0)
    np.testing.assert_array_equal(target, session.units.area == "HPC")
    assert preset_named("inter_region/HPC").label == "Between regions: HPC"
    assert is_preset("intra_region/HPC")
    assert not is_preset("causal/HPC")
    with pytest.raises(MaskError, match="inter_region/X"):
        mask_for("inter_region/X", session)


def test_models_get_the_presets_of_what_they_read_and_decode(session):
    names = [preset.name for preset in presets_of(session, Needs())]
    assert names == ["co_smoothing", "causal", *REGIONAL, "nothing"]
    forecast = mask_for(FORECAST, session)
    assert is_possible(FORECAST, forecast)
    assert not is_possible(FORECAST, forecast.stretched(TRIALS))
    assert fallback_for(TRIALS) == "co_smoothing"
    assert fallback_for(OMNIMOUSE) == FORECAST
    twin = Needs(sees_responses=False, sees_video=True, sees_behavior=True)
    names = [preset.name for preset in presets_of(session, twin)]
    of_streams = ["video_behavior", "video_only", "responses_from_behavior"]
    assert names == [*of_streams, "nothing"]
    for name in of_streams:
        assert not mask_for(name, session).visible.any()

    def names(**needs):
        return {preset.name for preset in presets_of(session, Needs(**needs))}

    decoding = {"all_response_only", "all_response_video"}
    decoder = Needs(predicts_behavior=True, predicts_responses=False, sees_video=True)
    assert {p.name for p in presets_of(session, decoder)} == {*decoding, "nothing"}
    assert names() == names(predicts_behavior=True) - decoding
    assert decoding <= {preset.name for preset in presets_of(session)}


def test_presets_of_streams_that_the_session_lacks_are_refused_with_the_reason(session):
    def refused(session):
        made = {preset.name: lack(preset.name, session) for preset in PRESETS}
        return {name: reason for name, reason in made.items() if reason}

    of_video = {"video_only", "all_response_video", "causal_response_25_video_behavior"}
    assert set(refused(session)) == of_video  # there is running
    silent = om.open_session({"responses": np.ones((600, 5)), "rate_hz": 30.0})
    reasons = refused(silent)
    of_behavior = {"video_behavior", "responses_from_behavior", "all_response_only"}
    assert set(reasons) == of_video | of_behavior
    assert reasons["video_behavior"] == "This recording has no video and no behaviour."
    # This recording has no video, but running, which the default preset reads.
    assert preset_for("video_only", session) == "video_behavior"
    assert preset_for("video_only", silent) == FORECAST
    view = first_view(session, "video_only")
    assert view.preset == "video_behavior"
    assert "“Video only” does not fit this recording" in view.messages[0]
    assert first_view(session, "video_behavior").messages == ()
    with open_controller(session, "mean") as controller:
        before = controller.state.mask
        assert set(controller.editor.preset_problems) <= of_video
        with pytest.raises(MaskError, match="no video"):
            controller.editor.apply_preset("video_only")
        assert controller.state.mask is before


def test_presets_over_regions_need_several(session, one_region):
    assert {*REGIONAL} <= {preset.name for preset in presets_of(session)}
    assert not {*REGIONAL} & {preset.name for preset in presets_of(one_region)}
    assert preset_for("inter_region/HPC", one_region) == "video_behavior"
    assert preset_for("inter_region/HPC", session) == "inter_region/HPC"


def test_presets_of_a_slow_recording_have_targets_or_a_reason():
    draw = np.random.default_rng(0).gamma(1.0, 1.0, (200, 20))
    slow = om.open_session({"responses": draw, "rate_hz": 1.0})
    assert "1 Hz" in lack("causal_response_25_behavior", slow)
    assert "1 Hz" in lack("causal", slow)
    # The first preset on screen has targets that interpolation does not reveal.
    first = preset_for("causal_response_25_behavior", slow)
    assert scored_cells(mask_for(first, slow)).any()
    at_3_hz = om.open_session({"responses": draw, "rate_hz": 3.0})
    assert not lack("causal_response_25_behavior", at_3_hz)
    note = mask_for("causal_response_25_behavior", at_3_hz).note
    assert "adapted" in note
    assert "no behaviour" in note
