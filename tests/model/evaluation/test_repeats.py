import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.evaluation import repeats
from omnimouse_model.evaluation.repeats import RepeatedClip, clip_repeats, repeated_clips
from omnimouse_model.metrics import cc_scores, stack_clips
from omnimouse_model.progress import CallbackJob
from tests.memory import check_memory
from tests.small_sessions import simulate_mouse


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Three clips are shown four times each; one of those is cut off at the end."""
    folder = tmp_path_factory.mktemp("ceilings") / "mouse"
    return om.open_session(simulate_mouse(folder, 30, 2.7, clips=3, times=4))


def clip(n: int, seconds: float) -> RepeatedClip:
    return RepeatedClip(f"{n} {seconds}", ("",) * n, tuple(range(n)), seconds)


def test_clips_shown_nearly_as_often_as_the_most_are_pooled():
    ten, nine, three, short = clip(10, 8.0), clip(9, 8.0), clip(3, 30.0), clip(50, 0.5)
    assert repeats.pooled_clips((short, ten, nine, three)) == ((ten, nine), 9)
    assert repeats.pooled_clips((three,)) == ((three,), 3)


def test_short_clips_count_where_there_are_no_others_and_enough_of_them():
    images = tuple(clip(20, 0.5) for _ in range(6))
    assert repeats.pooled_clips(images) == (images, 20)
    with pytest.raises(ValueError, match="shorter than 2 s"):
        repeats.pooled_clips(images[:2])
    almost = (clip(2, 59 / 30),)  # a sample less may be missing at the end of a clip
    assert repeats.pooled_clips(almost) == (almost, 2)
    with pytest.raises(ValueError, match="No clip was shown twice"):
        repeats.pooled_clips(())


@pytest.mark.slow
def test_the_ceiling_is_that_of_all_the_clips_together(session):
    clips, n_repeats = repeats.pooled_clips(repeated_clips(session))
    assert (len(clips), n_repeats) == (3, 3)
    each = [clip_repeats(session, clip, np.arange(30)).responses for clip in clips]
    length = min(part.shape[2] for part in each)
    assert all(part.shape[2] == length for part in each)
    parts = [part[:, :n_repeats].transpose(1, 2, 0) for part in each]
    stacked = stack_clips(np.stack(parts))
    whole = cc_scores(stacked[:, :1], stacked)
    found = repeats.population_ceiling(session)
    np.testing.assert_array_equal(found.status, whole.status)
    known = np.isfinite(found.single_trial_max)
    assert known.sum() > 20
    np.testing.assert_allclose(
        found.single_trial_max[known], np.sqrt((whole.signal_power / whole.total_power)[known])
    )
    assert found.description == f"3 repeats of 3 clips, {3 * length / 30:.0f} s"


@pytest.mark.slow
def test_pieces_of_any_size_give_the_same(session, monkeypatch):
    whole = repeats.population_ceiling(session)
    some = clip_repeats(session, whole.clips[1], np.array([3, 8]))
    monkeypatch.setattr(repeats, "_PIECE_BYTES", 7 * 4 * 30 * 3)
    shares: list[float] = []
    job = CallbackJob(lambda done, total, _: shares.append(done / total))
    found = repeats.population_ceiling(session, job)
    assert len(shares) > 50
    assert shares == sorted(shares)
    np.testing.assert_allclose(found.single_trial_max, whole.single_trial_max)
    np.testing.assert_allclose(found.oracle, whole.oracle)
    again = clip_repeats(session, whole.clips[1], np.array([3, 8]))
    np.testing.assert_array_equal(again.responses, some.responses)
    np.testing.assert_array_equal(again.cc_max, some.cc_max)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_clips(session, monkeypatch):
    film = RepeatedClip("film", ("",) * 20, tuple(range(20)), 60.0)  # 4.3 MB as it is read
    monkeypatch.setattr(repeats, "_PIECE_BYTES", 100_000)
    module = "omnimouse_model.evaluation.repeats"
    monkeypatch.setattr(f"{module}.repeated_clips", lambda _: (film,))
    repeats.population_ceiling(session)
    check_memory(lambda: repeats.population_ceiling(session), 2.4)
