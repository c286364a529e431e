"""Show gratings to a digital twin: orientation and direction tuning of all neurons."""

import numpy as np

import omnimouse_app as om

RECORDING = "demo"
MODEL = "twin-demo"  # any model that sees video
REPEATS = 3

session = om.open_session(RECORDING)
model = om.load_predictor(MODEL)
found = om.lab.run_experiment("directions", model, session, repeats=REPEATS)

columns = found.findings.columns
tuned = columns["osi"] > 0.3
print(f"{tuned.sum()} of {session.n_neurons} neurons have an OSI above 0.3")
print("median OSI", np.nanmedian(columns["osi"]), "DSI", np.nanmedian(columns["dsi"]))
print("responses to each direction, (neuron, direction):", found.findings.curves.shape)
found.to_dataframe().to_csv("tuning.csv", index=False)
