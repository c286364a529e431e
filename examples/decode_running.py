"""Decode running and pupil from neurons, beside a linear regression."""

import omnimouse_app as om

RECORDING = "demo"
MODELS = ["demo-plain", "context-ridge"]
N_NEURONS = 64
CHANNEL = "running"
MAX_WINDOWS = None

session = om.open_session(RECORDING)
# Visible: some neurons for the whole window, no video. Targets: the behaviour.
neurons = om.random_subset(session, min(N_NEURONS, session.n_neurons), seed=0)
mask = om.Mask.nothing(session).show(neurons).with_behavior("target")
scores = om.evaluate(MODELS, session, mask, max_windows=MAX_WINDOWS)
for score in scores.behavior:
    if score.channel == CHANNEL:
        text = score.refusal or f"r = {score.value:.2f} [{score.ci_low:.2f}, {score.ci_high:.2f}]"
        print(f"{CHANNEL} by {score.predictor}: {text}")
