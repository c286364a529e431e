"""Fine-tune a model to a mouse that it does not know, and ask whether it was worth it."""

import omnimouse_app as om

RECORDING = "unseen"  # or the path of your own recording
MODEL = "demo"
FOLDER = "my_mouse"  # a second run goes on from here
STEPS = 300  # the default; it ends earlier if the held-out score no longer rises
TASK = "test/video_behavior"
MAX_WINDOWS = None

session = om.open_session(RECORDING)
mine = om.finetune(
    MODEL,
    session,
    FOLDER,
    steps=STEPS,
    on_step=lambda step, row: print(step, {name: round(v, 3) for name, v in row.items()}),
)
# The baseline is fitted to the same train windows.
scores = om.evaluate([mine, "linear-gaussian"], session, TASK, max_windows=MAX_WINDOWS)
first, baseline = scores.scores
gain = scores.gain(first, baseline.predictor)
print(f"r = {first.value:.3f}, linear-gaussian {baseline.value:.3f}")
print(f"gain {gain.value:+.3f}, 95 % interval [{gain.low:+.3f}, {gain.high:+.3f}]")
# Later: om.load_predictor(FOLDER), or omnimouse app PATH --model FOLDER
