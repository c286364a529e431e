"""Predict held-out spikes and decode a label of the trials."""

import omnimouse_app as om

RECORDING = "spikes"  # or an NWB file with Units, or an ALF folder
MODEL = "ndt-demo"
LABEL = "stim_id"  # a column of the trial table
MAX_TRIALS = None

session = om.open_session(RECORDING)
model = om.load_predictor(MODEL)
print(session.n_neurons, "units,", len(session.trials), "trials")
for score in om.score_held_out(model, session, max_trials=MAX_TRIALS):
    print(f"{score.condition}: {score.mean.value:.3f} bits per spike ({score.n_excluded} excluded)")

decoded = om.decode_trial_labels(model, session, LABEL)
print(f"{LABEL}: {decoded.accuracy:.2f} of the trials, chance {decoded.chance:.2f}")
