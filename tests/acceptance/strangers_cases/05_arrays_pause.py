"""Arrays: a pause of 20 s as NaN, and a running trace on another clock."""

import json
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
responses = np.random.default_rng(0).gamma(1.0, 2.0, (1800, 6)).astype(np.float32)
responses[600:1200] = np.nan
path = folder / "recording.npz"
clock = {"running": np.ones(1200), "running_rate_hz": 20.0, "running_start_s": 1.7e9}
np.savez(path, responses=responses, rate_hz=30.0, **clock)
np.savez(folder / "_expect.npz", responses=responses)
right = {"duration": 60.0, "recorded_s": 40.0, "notes": ["NaN", "running"]}
(folder / "_expect.json").write_text(json.dumps(right | {"running": []}))
(folder / "_path").write_text(str(path))
