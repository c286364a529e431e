"""Compare two models on the same windows: scores, paired difference, neurons."""

import omnimouse_app as om

RECORDING = "demo"
MODELS = ["demo", "linear-gaussian"]  # names or checkpoints
TASK = "test/video_behavior"  # see om.strategy_names()
MAX_WINDOWS = None

scores = om.evaluate(MODELS, RECORDING, TASK, max_windows=MAX_WINDOWS)
first, second = scores.scores
for score in (first, second):
    text = score.refusal or f"{score.value:.3f} [{score.ci_low:.3f}, {score.ci_high:.3f}]"
    print(f"{score.predictor}: {text}")

gain = scores.gain(first, second.predictor)
print(
    f"{first.predictor} minus {second.predictor}: {gain.value:+.3f}, "
    f"95 % interval [{gain.low:+.3f}, {gain.high:+.3f}] over {gain.unit}"
)
better = first.per_neuron > second.per_neuron
print(f"{better.sum()} of {better.size} neurons are predicted better by {first.predictor}")
om.write_neurons(scores, "neurons.csv")  # a row per neuron and model
