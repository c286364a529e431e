"""What is prefetched between requests: each window once, until a tier takes its place."""

from dataclasses import dataclass, field, replace

import omnimouse_model as om
from omnimouse_model.live.inference.stages import StageRunner
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.progress import never
from tests.predictors import NoisyPredictor


@dataclass
class PrefetchingModel(NoisyPredictor):
    """Notes the starts of the windows that it is told to prefetch."""

    prefetched: list[float] = field(default_factory=list)

    def prefetch(self, window, mask, cancelled=never):
        self.prefetched.append(window.start_s)


def test_a_stroke_prefetches_nothing_again(session):
    model = PrefetchingModel()
    runner = StageRunner(lambda *_: model)
    nothing = om.Mask.nothing(session)
    request = LiveRequest(
        session, session.window(4.0), nothing.ask([3]), (3,), "noisy", "cpu", scores_tier=False
    )

    def prefetched(request):
        list(runner(request, never))
        list(runner.when_idle(request, never))
        found, model.prefetched = model.prefetched, []
        return [round(start) for start in found]

    assert prefetched(request) == [6, 2]
    painted = replace(request, mask=nothing.ask([3]).show([5]))
    assert prefetched(painted) == []
    assert prefetched(replace(painted, window=session.window(6.0))) == [8, 4]
    assert prefetched(replace(painted, mask=painted.mask.with_frames(True))) == [6, 2]
    scored = replace(request, scores_tier=True)
    assert prefetched(scored) == [6, 2]
    # Its windows have taken the place of those.
    assert prefetched(request) == [6, 2]


def test_averages_over_trials_take_the_place_of_what_was_prefetched(session):
    model = PrefetchingModel()
    runner = StageRunner(lambda *_: model)
    nothing = om.Mask.nothing(session)
    request = LiveRequest(
        session, session.window(4.0), nothing.ask([3]), (3,), "noisy", "cpu", scores_tier=False
    )
    list(runner(request, never))
    list(runner.when_idle(request, never))
    model.prefetched.clear()
    stages = list(runner.when_idle(replace(request, peri_event=True), never))
    assert any(stage.peri_event is not None for stage in stages)
    assert [round(start) for start in model.prefetched] == [6, 2]
