"""Open a suite2p folder: what is in it, and what the recording lacks."""

import omnimouse_app as om

FOLDER = "suite2p"  # or one planeN/
RATE_HZ = None  # frames per second, if `ops.npy` does not say it
SERIES = "spks"  # deconvolved; or "F-neu", "dff"

session = om.open_session(FOLDER, rate_hz=RATE_HZ, series=SERIES)
print(session.id, session.format, session.n_neurons, "neurons,", session.duration_s, "s")
print("series in the folder:", ", ".join(session.series_choices))
for note in (*session.warnings, *session.assumptions):
    print("-", note.message)

# Responses of the first 2-s window, float32 (time, neuron) at 30 Hz.
window = session.window(start_s=session.window_starts()[0])
print(window.responses.shape, window.responses.mean(axis=0)[:5])

# suite2p has no video and no behaviour. Models that need neither work at once: here
# half of the neurons is predicted from the other half.
half = session.n_neurons // 2
mask = om.Mask.nothing(session).show(range(half)).ask(range(half, session.n_neurons))
scores = om.evaluate("linear-gaussian", session, mask)
print(f"half by half: r = {scores.scores[0].value:.3f}")
