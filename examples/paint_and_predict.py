"""Paint a mask: show one area, predict another one in the last second."""

import numpy as np

import omnimouse_app as om

RECORDING = "demo"  # or the path of a recording
MODEL = "demo"  # or a checkpoint, "ridge", "linear-gaussian", …
VISIBLE, TARGETS = "V1", "LM"
TIER = "test"
MAX_WINDOWS = 16  # None: all

session = om.open_session(RECORDING)
model = om.load_predictor(MODEL)
shown = om.select_areas(session, VISIBLE)
asked = om.select_areas(session, TARGETS)

# Nothing is visible but what is painted. Samples are those of a window (60 at 30 Hz).
mask = om.Mask.nothing(session).with_frames(True).with_behavior(True)
mask = mask.show(shown).show(asked, slice(0, 25)).ask(asked, slice(30, 60))
for remark in om.remarks_on(mask):
    print("-", remark.message)

window = session.window(start_s=session.window_starts(tier=TIER)[0])
predicted = model.predict(window, mask)  # .responses (60, target), NaN but for the targets
print("predicted:", predicted.responses.shape, "recorded:", window.responses.shape)

# One window says little about a neuron: the score is that of many.
(score,) = om.evaluate(model, session, mask, tier=TIER, max_windows=MAX_WINDOWS).scores
print(f"{TARGETS} from {VISIBLE}: r = {score.value:.2f} over {score.n_windows} windows")
for column in np.argsort(-score.per_neuron)[:3]:
    name = session.units.unit_id[score.neurons[column]]
    print(f"unit {name}: r = {score.per_neuron[column]:.2f}")

mask.save("mask.json")  # opens in napari, too
