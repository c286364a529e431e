"""Arrays: no rate, which is then missing, and never guessed."""

import json
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
path = folder / "recording.npz"
np.savez(path, responses=np.random.default_rng(0).gamma(1.0, 2.0, (900, 6)))
np.savez(folder / "_expect.npz")
(folder / "_expect.json").write_text(json.dumps({"refuse": ["rate_hz"]}))
(folder / "_path").write_text(str(path))
