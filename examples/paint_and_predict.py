"""Paint a mask: show one area, predict another one in the last second."""

import numpy as np

import omnimouse_app as om

RECORDING = "demo"  # or the path of a recording
MODEL = "demo"  # or a checkpoint, "ridge", "linear-gaussian", …
VISIBLE, TARGETS = "V1", "LM"
TIER = "test"

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
for column, neuron in enumerate(predicted.neurons[:5]):
    pair = predicted.responses[30:, column], window.responses[30:, neuron]
    r = np.corrcoef(*pair)[0, 1]
    print(f"neuron {session.units.unit_id[neuron]}: r = {r:.2f} in this window")

mask.save("mask.json")  # opens in napari, too
