"""Arrays: responses as (neuron, time), with the area of each neuron."""

import json
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
responses = np.random.default_rng(0).gamma(1.0, 2.0, (900, 40)).astype(np.float32)
path = folder / "recording.npz"
np.savez(path, responses=responses.T, rate_hz=30.0, area=np.array(["V1", "LM"] * 20))
np.savez(folder / "_expect.npz", responses=responses)
right = {"duration": 30.0, "notes": ["(neuron, time)"]}
(folder / "_expect.json").write_text(json.dumps(right))
(folder / "_path").write_text(str(path))
