"""Curve of the score of one area over the number of visible neurons of another one."""

import omnimouse_app as om

RECORDING = "demo"
MODEL = "demo"
FROM, TO = "V1", "LM"
NEURONS = [0, 16, 64, 256]
DRAWS = 3
MAX_WINDOWS = None  # such as 16 for a first look

sweep = om.context_sweep(
    MODEL,
    RECORDING,
    neurons=NEURONS,
    pool=FROM,
    targets=TO,
    seeds=DRAWS,
    max_windows=MAX_WINDOWS,
    results="context_curve.jsonl",  # a second run goes on from here
)
curve = sweep.curve("neurons")
for n_neurons, point in zip(curve.values, curve.points, strict=True):
    low, high = point.ends  # 95 % interval over time
    print(f"{n_neurons:4d} neurons of {FROM}: {point.score:.3f} [{low:.3f}, {high:.3f}]")
sweep.write_csv("context_curve.csv")  # one row per draw
