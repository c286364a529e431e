"""Choose the first neurons and the first window of the demo, and store them.

Run `python -m tests.acceptance.first_scores` after a change of the demo session, the
demo model or the default preset; the file belongs to the library.
"""

import json
from dataclasses import asdict

import omnimouse_model as om
from omnimouse_model.analysis.evaluate.tier_score import TierScoring, scored_tier
from omnimouse_model.live.mask.presets import DEFAULT_PRESET, mask_for
from omnimouse_model.live.recording.first_scores import SHIPPED, first_scores


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
    SHIPPED.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    print(f"{last.estimate.value:.3f}: {found}")


if __name__ == "__main__":
    main()
