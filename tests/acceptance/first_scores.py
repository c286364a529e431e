"""Choose the first neurons and the first window of the demo, and store them.

Run `python -m tests.acceptance.first_scores` after a change of the demo session, the
demo model or the default preset; the file belongs to the library. The window is of
middle score: of the test windows between the 40th and the 60th percentile, that around
which the three neurons are predicted the most as over the whole tier, in 10 s.
"""

import json
from dataclasses import asdict, replace
from typing import Final

import numpy as np

import omnimouse_model as om
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.stitching import predict_span
from omnimouse_model.evaluation.tier_score import TierScore, TierScoring, scored_tier
from omnimouse_model.live.mask.presets import DEFAULT_PRESET, mask_for
from omnimouse_model.live.pin import page_around
from omnimouse_model.live.state_store import SHIPPED, FirstScores, first_scores
from omnimouse_model.predict.predictor import Predictor

LOWEST_RANK: Final = 0.4
HIGHEST_RANK: Final = 0.6


def main() -> None:
    """Score the demo model with the default preset over the test tier."""
    session, predictor = om.open_session(om.demo_session()), om.load_predictor("demo")
    predictor.prepare(session)
    scoring = TierScoring(
        predictor,
        session,
        mask_for(DEFAULT_PRESET, session, ()),
        scored_tier(session, predictor.needs.spec),
    )
    *_, last = scoring.refine(lambda: False)
    found = first_scores(session, last, "demo")
    assert found is not None
    found = replace(found, start_s=_typical_start(predictor, session, last, found))
    SHIPPED.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    print(f"{last.estimate.value:.3f}: {found}")


def _typical_start(
    predictor: Predictor, session: Session, last: TierScore, found: FirstScores
) -> float:
    """Return the start of the window that is most like the whole tier.

    The rule is in the docstring of this module.
    """
    assert last.score is not None
    values = dict(zip(last.score.neurons.tolist(), last.score.per_neuron.tolist(), strict=True))
    neurons = np.array(found.neurons)
    scores = [values[neuron] for neuron in found.neurons]
    starts = sorted(last.window_scores, key=lambda start: last.window_scores[start])
    ranks = np.linspace(0.0, 1.0, len(starts))
    distances = []
    for rank, start_s in zip(ranks.tolist(), starts, strict=True):
        if not LOWEST_RANK <= rank <= HIGHEST_RANK:
            continue
        page = page_around(session, session.nearest_window(start_s), "10 s")
        assert page is not None
        span = predict_span(predictor, session, last.mask, *page, neurons=neurons)
        distance = float(np.abs(span.scores - scores).sum())
        # Windows of one page are equal: of them, the one of the most median score.
        distances.append((round(distance, 6), abs(rank - 0.5), start_s))
        print(f"{start_s:8.2f} s, rank {rank:.2f}: {np.round(span.scores, 2)}")
    return min(distances)[2]


if __name__ == "__main__":
    main()
