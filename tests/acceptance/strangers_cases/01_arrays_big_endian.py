"""Arrays: responses as big-endian float64, areas as bytes."""

import json
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
responses = np.random.default_rng(0).gamma(1.0, 2.0, (900, 6))
area = np.array([b"V1", b"LM"] * 3)
path = folder / "recording.npz"
np.savez(path, responses=responses.astype(">f8"), rate_hz=30.0, area=area)
np.savez(folder / "_expect.npz", responses=responses, area=area.astype(str))
(folder / "_expect.json").write_text(json.dumps({"rate": 30.0, "n": 6}))
(folder / "_path").write_text(str(path))
