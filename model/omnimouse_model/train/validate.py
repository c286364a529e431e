"""Quick held-out scores during training."""

from functools import partial

from omnimouse_model.analysis.conditions import Condition
from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.predict.transformer import Precision, TransformerPredictor
from omnimouse_model.strategies import half_population_mask, mask_from_strategy
from omnimouse_model.train.batches import TrainingSession

CONDITIONS = (
    Condition("video_behavior", partial(mask_from_strategy, "test/video_behavior")),
    Condition("half_video", half_population_mask),
    Condition("half", partial(half_population_mask, video=False)),
    Condition("forecast", partial(mask_from_strategy, "causal_response_25_behavior")),
    Condition("decode", partial(mask_from_strategy, "test/all_response_video")),
)


def validation_scores(
    net: OmniMouse, source: TrainingSession, n_windows: int, precision: Precision
) -> dict[str, float]:
    """Scores on the validation tier of a training session, by condition and channel."""
    was_training = net.training
    net.eval()
    predictor = TransformerPredictor(net, "training", precision=precision)
    found = evaluate(
        predictor,
        source.session,
        CONDITIONS,
        tier="validation",
        max_windows=n_windows,
    )
    net.train(was_training)
    scores = {score.strategy: score.value for score in found.scores}
    decoded = {f"decode_{b.channel}": b.value for b in found.behavior}
    return scores | decoded
