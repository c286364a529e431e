"""Scripts of *Copy as Python*: each prints the number that was on screen.

usage: python -m tests.acceptance.scripts [JOURNEY …]

Does each journey without a screen, exports the script, runs it in a new process and
compares what it prints with the text of the bar or of the laboratory, digit by digit.
Exits with 1 if one differs. All journeys take about 15 minutes on two cores.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from omnimouse_model.analysis.stimulus_edits import Mirror
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.laboratory_jobs import BARCODES
from omnimouse_model.live.session_loader import SAMPLES
from omnimouse_widgets.views.laboratory import summary
from omnimouse_widgets.views.text.tier_score import shown_tier_score_lines

TIMEOUT_S = 900.0
ALL = 0
"""All windows of the tier, instead of a number."""


@dataclass(frozen=True, slots=True)
class Journey:
    """What is opened, done and read.

    Attributes
    ----------
    sample, model
        Sample recording and name of the predictor.
    act
        What is done before the number is read.
    n_windows
        The score is read once it is over this many windows; `ALL` of them.
    experiment
        Experiment of the laboratory whose result is read instead.
    """

    sample: str
    model: str
    act: Callable[[Controller], None] = lambda _: None
    n_windows: int = ALL
    experiment: str = ""


def preset(name: str) -> Callable[[Controller], None]:
    """Choose a preset."""
    return lambda controller: controller.editor.apply_preset(name)


def paint(controller: Controller) -> None:
    """Show 200 neurons, ask 100 others, hide the video of the second half."""
    controller.editor.apply_preset("video_behavior")
    with controller.editor.stroke():
        controller.editor.paint_cells(range(200), slice(0, 60), 1)
        controller.editor.paint_cells(range(200, 300), slice(30, 60), 2)
    controller.editor.set_frames(slice(0, 30))


def compare(controller: Controller) -> None:
    """Pin the first condition, and change the model and the condition."""
    controller.editor.apply_preset("video_behavior")
    controller.pins.pin()
    controller.model.choose("ridge")
    controller.editor.apply_preset("causal_response_25_behavior")
    controller.pins.pin()


def what_if(controller: Controller) -> None:
    """Edit the stimulus, which changes the prediction and not the score."""
    controller.editor.apply_preset("video_behavior")
    controller.stimulus_edits.put(Mirror("vertical"))


def pick(controller: Controller) -> None:
    """Select two neurons, for a search."""
    controller.selection.select([3, 4])


JOURNEYS = {
    "demo": Journey("demo", "demo"),
    "preliminary": Journey("demo", "demo", preset("causal_response_25_behavior"), 8),
    "painted": Journey("demo", "linear-gaussian", paint, 32),
    "behaviour": Journey("demo", "demo", preset("all_response_video"), 32),
    "compare": Journey("demo", "demo", compare, 32),
    "what if": Journey("demo", "video-ridge", what_if, 32),
    "half": Journey("demo", "demo-plain", preset("random_half_video_behavior"), 32),
    "unseen": Journey("unseen", "linear-gaussian", n_windows=32),
    "twin": Journey("demo", "twin-demo", preset("video_behavior"), 32),
    "spikes": Journey("spikes", "ndt-demo", n_windows=32),
    "spikes, linear": Journey("spikes", "linear-gaussian", n_windows=32),
    "directions": Journey("demo", "twin-demo", experiment="directions"),
    "fields": Journey("demo", "demo", experiment="fields"),
    "exciting": Journey("demo", "twin-demo", pick, experiment="exciting"),
    "fingerprints": Journey("demo", "twin-demo", experiment=BARCODES),
}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is true.

    Raises
    ------
    TimeoutError
        It never is.
    """
    end_s = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"{what} takes more than {TIMEOUT_S:g} s")
        time.sleep(0.05)


def read_score(controller: Controller, n_windows: int) -> tuple[str, list[str]]:
    """Return the script, and what it must print: the lines of the bar."""
    results = controller.results

    def is_there() -> bool:
        if results.error:
            raise RuntimeError(str(results.error))
        found = results.tier_score
        if found is None or found.mask is not controller.state.mask:
            return False
        return found.is_complete or 0 < n_windows <= found.n_windows

    wait_for(is_there, "the score")
    # The score goes on; both are read of the same one.
    while True:
        found, script = results.tier_score, controller.project.script()
        lines = shown_tier_score_lines(
            controller.state, results, controller.baseline, controller.colouring
        )
        if results.tier_score is found:
            break
    assert found is not None
    windows = f"over {found.n_windows} of {found.n_total} {found.tier} windows"
    expected = [f"{lines[0]} {windows}"] if found.score is not None else []
    for line in lines:
        if line.startswith("decoded r: "):
            each = line.removeprefix("decoded r: ").split(", ")
            expected += [f"{one.rpartition(chr(160))[2]} {windows}" for one in each]
    return script, expected


def read_experiment(controller: Controller, name: str) -> tuple[str, list[str]]:
    """Run an experiment; return its script, and what it must print."""
    laboratory = controller.laboratory
    wait_for(lambda: not controller.results.is_awaited, "the prediction")
    laboratory.choose(name)
    if laboratory.experiment is not None:
        laboratory.set_repeats(1)
    laboratory.start()
    wait_for(lambda: not laboratory.is_busy, "the experiment")
    if laboratory.error is not None:
        raise laboratory.error
    # What the truth of a simulation adds is beside the result, not in it.
    found = laboratory.results[name].summary
    if not summary(laboratory).startswith(found):
        raise ValueError(f"the panel says {summary(laboratory)!r}, the result {found!r}")
    return laboratory.as_python(), [found]


def run(name: str, folder: Path) -> str:
    """Do a journey; return what differs, "" if nothing."""
    journey = JOURNEYS[name]
    with closing(Controller(session_file=folder / "live.json")) as controller:
        controller.model.choose(journey.model)
        controller.loader.open(SAMPLES[journey.sample])
        wait_for(lambda: not controller.loader.is_busy, "the recording")
        journey.act(controller)
        if journey.experiment:
            script, expected = read_experiment(controller, journey.experiment)
        else:
            script, expected = read_score(controller, journey.n_windows)
    since = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=folder
    )
    took_s = time.monotonic() - since
    printed = done.stdout.splitlines()
    print(f"{name:14s} {took_s:5.0f} s  {' | '.join(expected)}", flush=True)
    if done.returncode:
        return f"the script fails: {done.stderr.strip().splitlines()[-1]}"
    missing = [text for text in expected if not any(line.endswith(text) for line in printed)]
    return f"{missing} is on screen; the script prints {printed}" if missing else ""


def main() -> int:
    """Do the journeys of the command line, all by default."""
    faults = {}
    for name in sys.argv[1:] or JOURNEYS:
        with TemporaryDirectory() as folder:
            try:
                fault = run(name, Path(folder))
            except Exception as error:
                fault = repr(error)
        if fault:
            faults[name] = fault
            print(f"FAULT {name}: {fault}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
