"""ALF: trials as single arrays; the last interval is NaN, one array is too long."""

import json
import sys
from pathlib import Path

import numpy as np

N = 30
folder = Path(sys.argv[1])
session = folder / "mouse" / "2024-05-06" / "001"
probe = session / "alf" / "probe00"
probe.mkdir(parents=True)
generator = np.random.default_rng(0)
times = np.sort(generator.uniform(0, 300, 4000))
unit = generator.integers(0, 5, 4000).astype(np.uint32)
np.save(probe / "spikes.times.npy", times)
np.save(probe / "spikes.clusters.npy", unit)
start = 5.0 + 9.0 * np.arange(N)
intervals = np.stack([start, start + 6], axis=1)
intervals[-1] = np.nan
np.save(session / "alf" / "_ibl_trials.intervals.npy", intervals)
np.save(session / "alf" / "_ibl_trials.stimOn_times.npy", start + 0.5)
np.save(session / "alf" / "_ibl_trials.choice.npy", np.ones(N + 1))
right = {"n_trials": N - 1, "notes": ["1 of 30 trials", "choice"]}
values = {"counts": np.bincount(unit), "t_on": start[:-1] + 0.5}
np.savez(folder / "_expect.npz", **values)
(folder / "_expect.json").write_text(json.dumps(right))
(folder / "_path").write_text(str(session))
