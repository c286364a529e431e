"""How much of each neuron is predictable from the video, behaviour, itself and others."""

import omnimouse_app as om

RECORDING = "demo"
MODEL = "linear-gaussian"  # answers all subsets in seconds; or a checkpoint
SOURCES = ["video", "behavior", "history", "same area", "other areas"]
TARGETS = None  # all neurons; or the name of an area
MAX_WINDOWS = None

session = om.open_session(RECORDING)
found = om.sources(MODEL, session, SOURCES, TARGETS, max_windows=MAX_WINDOWS)
for name, reason in found.refused.items():
    print(f"{name} is left out: {reason}")
# Shares add up to the total: each is the mean gain over all orders of the sources.
for name in found.names:
    share = found.mean_of("share", name)  # over neurons; `found.of` has each neuron
    print(f"{name}: {share.value:.3f} of the variance [{share.low:.3f}, {share.high:.3f}]")
print(f"all together: {found.mean_total().value:.3f}")
found.write_csv("sources.csv")  # a row per neuron
