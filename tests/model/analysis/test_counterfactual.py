import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.counterfactual import (
    apply_edits,
    describe_edits,
    edit_remarks,
    edits_for,
    edits_from_json,
    edits_to_json,
    sort_edits,
    what_if,
)
from omnimouse_model.analysis.stimulus_edits import (
    MAX_BYTES,
    BehaviorScale,
    BehaviorSet,
    BehaviorShift,
    Blank,
    Contrast,
    Freeze,
    Mirror,
    OtherClip,
    Picture,
    Shift,
)
from omnimouse_model.analysis.sweep.live_sweep import live_sweep
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.predict.predictor import Needs
from tests.model.live.mask.test_stimulus_edits import VideoPredictor
from tests.predictors import EchoPredictor, tiny_transformer
from tests.toy_predictors import COUNTS, RECURRENT, RecurrentPredictor

EVERY = (
    OtherClip(3.0),
    Freeze(12, (30, 60)),
    Blank((0, 30)),
    Mirror("vertical"),
    Contrast(0.5),
    Shift(4, -2, 3),
    BehaviorSet("running", 0.0),
    BehaviorScale("pupil_size", 1.5, (0, 20)),
    BehaviorShift("running", 10),
)


@pytest.fixture
def window(session):
    return session.window(6.0)


@pytest.fixture
def mask(session):
    """Video and behaviour are given, every response is asked."""
    everyone = om.Mask.nothing(session).ask(range(session.n_neurons))
    return everyone.with_frames(True).with_behavior("visible")


def test_contrast_one_and_scale_one_change_nothing_exactly(window):
    same = apply_edits(window, [Contrast(1.0), BehaviorScale("running", 1.0), Shift()])
    np.testing.assert_array_equal(same.video, window.video)
    np.testing.assert_array_equal(same.behavior, window.behavior)
    np.testing.assert_array_equal(same.frames_u8, window.frames_u8)


def test_the_session_and_the_window_are_not_touched(window):
    video, behavior = window.video.copy(), window.behavior.copy()
    changed = apply_edits(window, EVERY)
    assert not np.array_equal(changed.video, video)
    assert not np.array_equal(changed.behavior, behavior)
    again = window.session.window(window.start_s)
    np.testing.assert_array_equal(again.video, video)
    np.testing.assert_array_equal(again.behavior, behavior)
    np.testing.assert_array_equal(changed.responses, window.responses)


def test_keys_tell_edited_windows_apart(window):
    keys = {window.key, *(apply_edits(window, [edit]).key for edit in EVERY)}
    assert len(keys) == len(EVERY) + 1
    assert apply_edits(window, [Blank()]) == apply_edits(window, [Blank()])
    assert apply_edits(window, [Blank()]) != window


@pytest.mark.parametrize(
    ("edits", "video"),
    [
        ([Blank((30, 60))], lambda v: np.concatenate([v[:30], 0 * v[30:]])),
        ([Freeze(12, (20, 60))], lambda v: v[[*range(20), *[12] * 40]]),
        ([Mirror()], lambda v: v[:, :, ::-1]),
        ([Mirror(), Mirror()], lambda v: v),
        ([Mirror("vertical")], lambda v: v[:, ::-1]),
        ([Contrast(0.5)], lambda v: v / 2),
        (
            [Shift(right=5, down=-3)],
            lambda v: np.pad(v[:, 3:, :-5], ((0, 0), (0, 3), (5, 0))),
        ),
        ([Shift(right=64)], lambda v: 0 * v),
    ],
)
def test_edits_change_the_video_of_the_model(window, edits, video):
    found = apply_edits(window, edits).video
    np.testing.assert_allclose(found, video(window.video), atol=1e-6)


def test_changed_frames_are_shown_as_bytes(window):
    blank = apply_edits(window, [Blank((30, 60))])
    np.testing.assert_array_equal(blank.frames_u8[30:], 113)
    strong = apply_edits(window, [Contrast(3.0)])
    assert strong.frames_u8.min() == 0
    assert strong.video.max() == pytest.approx((255 - 113) / 59)


@pytest.mark.parametrize("later", [7, -7])
def test_a_shift_in_frames_shows_earlier_or_later_frames(session, window, later):
    moved = apply_edits(window, [Shift(later=later)])
    there = session.window(window.start_s - later / 30)
    np.testing.assert_array_equal(moved.video, there.video)
    assert there.start_index == window.start_index - later


def test_another_clip_is_the_video_of_another_window(session, window):
    other = apply_edits(window, [OtherClip(12.0)])
    np.testing.assert_array_equal(other.video, session.window(12.0).video)
    np.testing.assert_array_equal(other.behavior, window.behavior)


def test_edits_follow_each_other(window):
    both = apply_edits(apply_edits(window, [Mirror()]), [Shift(right=2)])
    assert both == apply_edits(window, [Mirror(), Shift(right=2)])
    np.testing.assert_array_equal(both.video[:, :, 2:], window.video[:, :, :1:-1])
    blank_then_moved = apply_edits(window, [Blank((0, 10)), Shift(later=5)]).video
    np.testing.assert_array_equal(blank_then_moved[5:15], 0.0)
    np.testing.assert_array_equal(blank_then_moved[15:], window.video[10:55])


def test_behaviour_is_edited_in_the_units_of_the_recording(window):
    session = window.session
    column = session.behavior_names.index("running")
    mean, std = (part[0] for part in session.behavior_statistics("treadmill"))
    recorded = window.behavior[:, column] * std + mean

    def running(edit: object) -> np.ndarray:
        behavior = apply_edits(window, [edit]).behavior
        others = np.delete(behavior, column, axis=1)
        np.testing.assert_array_equal(others, np.delete(window.behavior, column, 1))
        return behavior[:, column] * std + mean

    np.testing.assert_allclose(running(BehaviorSet("running", 3.0)), 3.0, rtol=1e-4)
    doubled = running(BehaviorScale("running", 2.0, (20, 40)))
    np.testing.assert_allclose(doubled[20:], 2 * recorded[20:], rtol=1e-3)
    np.testing.assert_allclose(doubled[:20], recorded[:20], rtol=1e-5)
    late = running(BehaviorShift("running", 4))
    np.testing.assert_allclose(late[4:], recorded[:-4], rtol=1e-5)


def test_what_a_session_lacks_cannot_be_edited(window):
    with pytest.raises(ValueError, match="has no 'licking'; it has pupil_size"):
        apply_edits(window, [BehaviorSet("licking", 0.0)])
    with pytest.raises(ValueError, match="0-59, not 60"):
        apply_edits(window, [Freeze(60)])
    with pytest.raises(ValueError, match="within 0-40, not"):
        apply_edits(window, [BehaviorScale("running", 2.0, (0, 41))])
    with pytest.raises(ValueError, match="start_s is 900 s"):
        apply_edits(window, [OtherClip(900.0)])
    session = replace(window.session, stimulus=None)
    with pytest.raises(ValueError, match="has no video to edit"):
        apply_edits(session.window(6.0), [Blank()])


@pytest.mark.parametrize(
    ("make", "value", "words"),
    [
        (Contrast, -1.0, "0 or more"),
        (Freeze, -1, "0-…, not -1"),
        (Blank, (40, 30), "within 0-…, not"),
        (OtherClip, float("nan"), "finite start_s"),
        (edits_from_json, [{"edit": "invert"}], "'invert'"),
        (edits_from_json, [{"edit": "blank", "at": 3}], "has no at"),
        (edits_from_json, [{"edit": "contrast"}], "cannot be read"),
    ],
)
def test_edits_that_make_no_sense_are_refused(make, value, words):
    with pytest.raises(ValueError, match=words):
        make(value)


def test_edits_go_through_json_and_pickle_unchanged(window):
    stored = json.loads(json.dumps(edits_to_json(EVERY)))
    assert edits_from_json(stored) == sort_edits(EVERY[::-1]) == EVERY
    assert pickle.loads(pickle.dumps(apply_edits(window, EVERY))).edits == EVERY


def test_words_of_edits_have_their_values():
    assert describe_edits([], OMNIMOUSE) == "nothing"
    told = describe_edits([Contrast(0.5), Blank((30, 60)), Shift(-4, 0, 3)], OMNIMOUSE)
    for value in ("0.5", "1-2 s", "4 px left", "3 frames later"):
        assert value in told
    edits = [BehaviorSet("pupil_size", 2.0), BehaviorShift("running", -10)]
    told = describe_edits(edits, OMNIMOUSE)
    assert told == "pupil size = 2, running 0.5 s earlier"


def test_edits_keep_their_meaning_under_another_spec(session, window):
    late = BehaviorShift("running", 10, (0, 20))
    edits = (Freeze(12, (30, 60)), Blank((0, 60)), Shift(4, -2, 3), late)
    coarse = replace(RECURRENT, video=replace(RECURRENT.video, rate_hz=15.0))
    mapped = (Freeze(6, (15, 30)), Blank(), Shift(16, -8, 2), late)
    assert edits_for(edits, window.spec, coarse) == mapped
    assert edits_for(mapped[1:], coarse, COUNTS) == mapped[1:]  # it reads no video
    raw = session.window(6.0, RECURRENT)
    changed = apply_edits(raw, edits_for(edits[2:3], window.spec, RECURRENT))
    np.testing.assert_array_equal(changed.video[3:, :-8, 16:], raw.video[:-3, 8:, :-16])
    assert (changed.video[:, :, :16] == 113).all()
    units = replace(RECURRENT, behavior=replace(RECURRENT.behavior, is_raw=True))
    raw = session.window(6.0, units)
    held = apply_edits(raw, [BehaviorSet("running", 3.0)]).behavior
    assert raw.behavior_names[1] == "running"
    np.testing.assert_allclose(held[:, 1], 3.0, rtol=1e-5)
    np.testing.assert_array_equal(held[:, 0], raw.behavior[:, 0])
    assert describe_edits([Blank((0, 10))], COUNTS) == "blank"
    assert describe_edits([Blank((0, 15))], RECURRENT) == "blank (0-0.5 s)"


def test_a_predictor_of_raw_video_answers_what_if(session):
    window = session.window(6.0, RECURRENT)
    mask = om.Mask.nothing(session, RECURRENT).ask(slice(None), slice(None))
    mask = mask.with_frames(True).with_behavior(True)
    found = what_if(RecurrentPredictor(), window, mask, [Contrast(0.0, (30, 60))])
    assert found.description == "contrast × 0 (1-2 s)"
    scored = np.isfinite(found.difference)
    assert not found.difference[:30][scored[:30]].any()
    assert found.difference[31:][scored[31:]].all()
    edits = [Blank(), BehaviorSet("running", 0.0)]
    again = what_if(RecurrentPredictor(), window, mask, edits)
    assert again.change.min() > 0


def test_a_shift_of_the_video_shifts_the_answer_of_a_video_model(window, mask):
    found = what_if(VideoPredictor(), window, mask, [Shift(later=9)])
    asked = np.flatnonzero(mask.target[:, 0])
    late = asked[asked >= asked[0] + 9]
    before, after = found.before.responses, found.after.responses
    np.testing.assert_array_equal(after[late], before[late - 9])
    assert np.nanmax(np.abs(found.difference)) > 0.01


def test_the_difference_is_that_of_the_two_answers(window, mask):
    predictor, edits = VideoPredictor(), [Contrast(0.5, (30, 60))]
    found = what_if(predictor, window, mask, edits)
    asked = mask.target[:, 3]
    gray = np.where(np.arange(60) < 30, 0, -window.video.mean(axis=(1, 2)) / 2)
    expected = gray[asked, None] * np.arange(mask.n_neurons) / mask.n_neurons
    np.testing.assert_allclose(found.difference[asked], expected, atol=1e-5)
    assert np.isnan(found.difference[~asked]).all()
    rms = np.sqrt((expected**2).mean(axis=0))
    np.testing.assert_allclose(found.change, rms, rtol=1e-3)
    np.testing.assert_allclose(found.mean_change, expected.mean(axis=0), rtol=1e-3)


@pytest.mark.slow
def test_an_edit_of_hidden_frames_changes_nothing_exactly(window, mask):
    first, net = mask.with_frames(slice(0, 30)), tiny_transformer()
    edits = [Blank((30, 60)), Contrast(0.2, (30, 60)), Mirror("vertical", (30, 60))]
    for predictor in (net, naive_predictor("video-ridge")):
        found = what_if(predictor, window, first, edits)
        np.testing.assert_array_equal(found.difference[first.target], 0.0)
        assert not len(found.most_changed(5))
        seen = what_if(predictor, window, first, [Blank((0, 30))])
        assert np.abs(seen.difference[first.target]).max() > 0
    blind = what_if(net, window, mask.with_frames(False), [Blank()])
    np.testing.assert_array_equal(blind.difference[mask.target], 0.0)


def test_a_known_answer_is_not_asked_again_and_nothing_is_scored(window, mask):
    predictor = EchoPredictor()
    known = predictor.predict(window, mask)
    found = what_if(predictor, window, mask, [Blank()], np.arange(5), unedited=known)
    assert predictor.counters["encodings"] == 2
    np.testing.assert_array_equal(found.before.responses, known.responses[:, :5])
    found = what_if(EchoPredictor(), window, mask, [Blank()])
    assert np.isnan(found.scores).all()
    with pytest.raises(ValueError, match="no recorded responses to an edited"):
        next(live_sweep(EchoPredictor(), found.window, np.arange(2)))


@pytest.mark.process
def test_a_predictor_in_another_process_is_told_of_the_edits(window, mask):
    edits = (Shift(later=9), Contrast(0.5), BehaviorSet("running", 20.0))
    here = what_if(tiny_transformer(), window, mask, edits)
    worker = WorkerPredictor(tiny_transformer)
    try:
        there = what_if(worker, window, mask, edits)
        requests = [(there.window, mask, None), (window, mask, None)]
        many = [answer.responses for answer in worker.predict_many(requests)]
    finally:
        worker.close()
    assert np.nanmax(np.abs(here.difference)) > 1e-3
    np.testing.assert_allclose(there.difference, here.difference, atol=1e-5)
    np.testing.assert_allclose(many[0], here.after.responses, atol=1e-5)
    np.testing.assert_allclose(many[1], here.before.responses, atol=1e-5)


def test_remarks_say_what_is_not_seen(mask):
    edits = [Blank((30, 60)), BehaviorSet("running", 0.0)]
    assert edit_remarks(edits, mask) == ()
    hidden = mask.with_frames(slice(0, 30)).with_behavior("hidden")
    told = edit_remarks(edits, hidden.show(range(3)), Needs(True, True, True))
    about = ("frames are hidden", "Behaviour is not visible", "responses stay")
    for part, words in zip(about, told, strict=True):
        assert part in words
    blind = edit_remarks(edits, mask, Needs(sees_video=False, sees_behavior=False))
    assert all("does not see" in words for words in blind)


@pytest.mark.slow
def test_a_blank_lowers_the_predicted_answers_of_driven_neurons():
    session = om.open_session(om.demo_session())
    predictor = om.load_predictor("demo", device="cpu")
    mask = om.Mask.from_strategy("test/video_only", session)
    changes = []
    for start_s in session.window_starts(tier="test", stride=60)[:4]:
        found = what_if(predictor, session.window(start_s), mask, [Blank()])
        rates = np.nanmean(found.before.responses, axis=0)
        driven = rates > np.quantile(rates, 0.9)
        changes.append(found.mean_change[driven].mean() / rates[driven].mean())
        assert found.mean_change[driven].mean() < found.mean_change[~driven].mean()
    assert np.max(changes) < -0.1, changes


# -- pictures and clips in place of the video: their frames, storage and limits ------
@pytest.fixture
def clip():
    return np.random.default_rng(0).integers(0, 256, (5, 36, 64), dtype=np.uint8)


def test_a_clip_takes_the_place_of_the_video_and_its_last_frame_stays(window, clip):
    small = clip[0].reshape(18, 2, 32, 2).mean(axis=(1, 3)).round().astype(np.uint8)
    for frames, shown in (
        (clip, [0, 1, 2, 3, *[4] * 56]),
        (clip[0], [0] * 60),
        (np.repeat(small, 2, axis=0).repeat(2, axis=1), [0] * 60),
    ):
        picture = Picture.of(frames)
        assert picture.n_frames == max(shown) + 1
        edited = apply_edits(window, [picture])
        expected = frames.reshape(-1, 36, 64)[shown]
        np.testing.assert_array_equal(edited.frames_u8, expected)
        np.testing.assert_array_equal(edited.behavior, window.behavior)
    # A smaller one is scaled; equal frames are stored once.
    scaled = apply_edits(window, [Picture.of(small)]).frames_u8
    np.testing.assert_array_equal(scaled[7, ::2, ::2], small)
    assert Picture.of(np.repeat(clip[:1], 60, axis=0)).n_frames == 1


def test_other_edits_change_the_picture(window, clip):
    edits = [Picture.of(clip[0]), Mirror(), Contrast(0.0)]
    assert (apply_edits(window, edits).frames_u8 == 113).all()
    mirrored = apply_edits(window, edits[:2]).frames_u8
    np.testing.assert_array_equal(mirrored[0], clip[0, :, ::-1])


def test_a_picture_is_stored_in_json_and_pickle(window, clip):
    picture = Picture.of(clip, "most exciting video")
    (stored,) = edits_from_json(json.loads(json.dumps(edits_to_json([picture]))))
    assert stored == picture
    np.testing.assert_array_equal(stored.frames, clip)
    edited = apply_edits(window, [picture])
    assert pickle.loads(pickle.dumps(edited)).key == edited.key
    assert describe_edits([picture], OMNIMOUSE) == "most exciting video"


@pytest.mark.parametrize("rate_hz", [15.0, 30.0, 60.0])
def test_a_clip_keeps_its_time_in_windows_of_another_rate(session, clip, rate_hz):
    spec = replace(om.OMNIMOUSE, video=replace(om.OMNIMOUSE.video, rate_hz=rate_hz))
    slow = session.window(6.0).at(spec)
    (edit,) = edits_for([Picture.of(clip)], om.OMNIMOUSE, spec)
    frames = apply_edits(slow, [edit]).frames_u8
    # Frame k of the clip is on the screen from k / 30 s on.
    shown = np.minimum(np.arange(len(frames)) * 30 // int(rate_hz), 4)
    np.testing.assert_array_equal(frames, clip[shown])
    (again,) = edits_for([edit], spec, om.OMNIMOUSE)
    assert again == Picture.of(clip)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixels": "no base 64!"}, "cannot be read"),
        ({"pixels": "bm8gemxpYg=="}, "cannot be read"),
        ({"n_frames": 4}, "more than 9,216 bytes; expected 9,216"),
        ({"n_frames": 6}, "11,520 bytes; expected 13,824"),
        ({"n_frames": 0}, "at least 1"),
        ({"step": 0.0}, "step is 0"),
        ({"width": MAX_BYTES}, "at most"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(clip, change, words):
    (stored,) = edits_to_json([Picture.of(clip)])
    with pytest.raises(ValueError, match=words):
        edits_from_json([stored | change])
