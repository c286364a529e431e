"""Score one model on every recording of a folder, and write one table."""

import omnimouse_app as om

FOLDER = "recordings"
MODEL = "linear-gaussian"  # fitted to each recording; or a checkpoint that knows them all
TASK = "test/video_behavior"
OUT = "batch.jsonl"  # finished recordings are not computed again
MAX_WINDOWS = None

catalogue = om.catalogue(FOLDER)
print(catalogue)
readable = [entry for entry in catalogue if entry.is_read]
for entry in catalogue:
    if not entry.is_read:
        print("left out:", entry.path, entry.problems[0])

results = om.evaluate_all(
    [MODEL],
    [om.open_session(entry.path) for entry in readable],
    [TASK],
    results=OUT,
    max_windows=MAX_WINDOWS,
)
for score in results["test"].scores:
    print(score.session, score.refusal or f"{score.value:.3f}")
om.write_neurons(results["test"], "batch.csv")
