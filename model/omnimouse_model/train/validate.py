"""Validation scores during training."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from omnimouse_model.analysis.evaluate.conditions import Condition
from omnimouse_model.analysis.evaluate.evaluate import evaluate
from omnimouse_model.analysis.evaluate.results import Scores
from omnimouse_model.analysis.evaluate.tier_windows import scored_starts, spread_starts
from omnimouse_model.data.session import Session
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.masks.strategies import strategy_names
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.predict.omnimouse.memory_fallback import Precision
from omnimouse_model.predict.omnimouse.predictor import TransformerPredictor
from omnimouse_model.progress import QUIET
from omnimouse_model.train.batches import TrainingSession
from omnimouse_model.train.config import Streams, TrainConfig
from omnimouse_model.train.distributed import Team

DEMO = (
    Condition("video_behavior", partial(Mask.from_strategy, "test/video_behavior")),
    Condition("half_video", half_population_mask),
    Condition("half", partial(half_population_mask, video=False)),
    Condition("forecast", partial(Mask.from_strategy, "causal_response_25_behavior")),
    Condition("decode", partial(Mask.from_strategy, "test/all_response_video")),
)
OFFICIAL_TIERS = ("validation", "oracle")
OFFICIAL_STRIDE = 60
SUMMARY = "validation"
"""Key of the mean response score over conditions, which selects the best weights."""


def validation_scores(
    net: OmniMouse, config: TrainConfig, sessions: list[TrainingSession], team: Team
) -> dict[str, float]:
    """Return scores by condition and behaviour channel, and the mean "validation".

    The mean is over the response scores only. "demo" and "held-out" score the first
    session of the run. "official" scores the eight official validation masks on
    every session with such windows, and averages over sessions weighted by their
    number of neurons. All ranks must call it, and they return the same scores.
    """
    net.eval()
    if config.validation != "official":
        # All ranks must take part in gather, so the others send an empty dict.
        (scores, *_) = team.gather(_demo_scores(net, config, sessions[0]) if team.is_main else {})
    else:
        rows = [
            (source.session.n_neurons, _official_scores(net, config, source.session))
            for source in sessions
            if len(_official_starts(source.session))
        ]
        scores = _mean([row for of_rank in team.gather(rows) for row in of_rank])
    # A constant prediction or target has no correlation (NaN): such conditions do not
    # count, or one of them would make every comparison with the best score False.
    scores = {name: value for name, value in scores.items() if np.isfinite(value)}
    of_responses = [v for name, v in scores.items() if not name.startswith("decode")]
    return scores | ({SUMMARY: float(np.mean(of_responses))} if of_responses else {})


def _demo_scores(net: OmniMouse, config: TrainConfig, source: TrainingSession) -> dict[str, float]:
    conditions = _limited(DEMO, source.session, config.model.behavior_channels)
    starts = source.held_out
    if config.validation == "demo":
        starts = scored_starts(source.session, "validation")
    results = evaluate(
        _predictor(net, config.precision),
        source.session,
        conditions,
        starts=spread_starts(starts, config.validation_windows),
        job=QUIET,
    )
    return _values(results) | {f"decode_{b.channel}": b.value for b in results.behavior}


def _limited(conditions: Sequence[Condition], session: Session, channels: int) -> list[Condition]:
    """Return the conditions limited to the inputs of a session.

    Conditions without remaining targets are dropped.
    """
    streams = Streams.of(session, channels)

    def limited(condition: Condition) -> Condition:
        return replace(condition, mask=lambda s: streams.limit(condition.mask(s)))

    return [limited(c) for c in conditions if streams.has_targets(c.mask(session))]


def _official_scores(net: OmniMouse, config: TrainConfig, session: Session) -> dict[str, float]:
    conditions = [
        Condition(name, partial(Mask.from_strategy, name, seed=config.seed))
        for name in strategy_names()
        if name.startswith("validation/")
    ]
    starts = spread_starts(_official_starts(session), config.validation_windows)
    results = evaluate(
        _predictor(net, config.precision),
        session,
        conditions,
        starts=starts,
        job=QUIET,
    )
    decoded = {
        f"decode/{b.strategy.removeprefix('validation/')}/{b.channel}": b.value
        for b in results.behavior
    }
    return _values(results) | decoded


def _official_starts(session: Session) -> np.ndarray:
    """Return starts every 2 s of tiers validation and oracle, with blanks.

    This is the rule of the official config.
    """
    return session.window_starts(OFFICIAL_TIERS, OFFICIAL_STRIDE, include_blanks=True)


def _predictor(net: OmniMouse, precision: Precision) -> TransformerPredictor:
    return TransformerPredictor(net, "training", precision=precision)


def _values(results: Scores) -> dict[str, float]:
    return {score.strategy: score.value for score in results.scores}


def _mean(rows: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Return the mean of each score over sessions, weighted by number of neurons."""
    means = {}
    for name in dict.fromkeys(name for _, scores in rows for name in scores):
        pairs = [(n, scores[name]) for n, scores in rows if name in scores]
        # Sessions with an undefined score are left out, but a score that is undefined
        # in all sessions stays NaN.
        pairs = [pair for pair in pairs if np.isfinite(pair[1])] or pairs
        counts, values = zip(*pairs, strict=True)
        means[name] = float(np.average(values, weights=counts))
    return means
