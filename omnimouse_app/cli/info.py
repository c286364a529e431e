"""`omnimouse info` and `report`: a session or checkpoint described, an analysis as a page."""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs
from omnimouse_app.cli.terminal import STOPPED, Progress, echo, emit, interruptible, shorten, table
from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.display import count
from omnimouse_model.progress import CallbackJob
from omnimouse_model.storage.files import expanded

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.data.session_index import Catalogue, Entry
    from omnimouse_model.data.signal import Signal
    from omnimouse_model.data.stimulus import Stimulus
    from omnimouse_model.live.state import Device
    from omnimouse_model.predict.family import Description

CHECKPOINT_FILES = (".safetensors", ".ckpt", ".pt")
STREAMS = {"screen": "video", "eye_tracker": "pupil", "treadmill": "running"}
"""Streams that a session may lack, with the names to print."""
WIDE = "by stimulus"
"""Column of a folder's table that is omitted on a narrow terminal."""
TABLE_WIDTH = 120
"""Characters per row of a folder's table if the output is not a terminal."""
SORTED_BY = ("path", "id", "animal", "format", "neurons", "minutes", "problems")
"""Columns of a folder's table."""


@click.command("info")
@click.argument("path")
@inputs.json_option
@click.option(
    "--sort",
    "column",
    type=click.Choice(SORTED_BY),
    default="path",
    help="For a folder of sessions: the column by which its table is sorted.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Estimate the lags between the streams of a session, and check its clocks.",
)
@inputs.reading_options
def command(path: str, as_json: bool, column: str, check: bool, reading: dict[str, Any]) -> None:
    """Describe the session, checkpoint or folder of sessions at PATH.

    'demo', 'unseen', 'spikes' and 'unseen-spikes' are the simulated sessions; the name
    of a model, such as 'twin-demo', describes it. A session
    that cannot be read ends with one line that names the file, the expected content and
    a remedy, and exit status 1.
    """
    from omnimouse_model.data.hub.exchange import hub_place

    # A local file has precedence over a name on the hub.
    is_local = path in inputs.DEMO_SESSIONS or Path(path).exists()
    from omnimouse_model.inference.families import builders

    if path in builders() and not is_local:
        row = predictor_row(path)
    elif path not in inputs.DEMO_SESSIONS and is_checkpoint(Path(path)):
        row = checkpoint_row(Path(path))
    elif not is_local and (place := hub_place(path)) and place.kind == "model":
        row = checkpoint_row(_fetched(path))
    else:
        folder = inputs.session_folder(path)
        if isinstance(folder, Path) and is_collection(folder):
            if check:
                raise click.UsageError(
                    f"--check examines one session, but {path} is a folder of several: "
                    "name one of them."
                )
            catalogue_table(folder, column, as_json, reading)
            return
        row = session_row(folder, **reading)
        if check:
            row["alignment"] = alignment_row(folder, reading)
    is_weights = row["name"] == "checkpoint"
    lines = checkpoint_lines(row) if is_weights else session_lines(row)
    emit([row], as_json=as_json, text="\n".join(lines))


def _fetched(name: str) -> Path:
    """Download a checkpoint of the hub and return its path."""
    from omnimouse_model.inference.registry import fetch_checkpoint

    with interruptible(), Progress() as progress:
        return fetch_checkpoint(name, None, CallbackJob(progress))


def is_checkpoint(path: Path) -> bool:
    """Return True if a path contains weights, not a recording."""
    if path.is_dir():
        return any(file.suffix in CHECKPOINT_FILES for file in path.iterdir())
    return path.suffix in CHECKPOINT_FILES


def alignment_row(folder: Path | str, reading: dict[str, Any]) -> dict[str, Any]:
    """Return the lags between the streams of a session, and problems of its clocks."""
    from omnimouse_model.analysis.clock_check import check_alignment
    from omnimouse_model.data.open import open_session
    from omnimouse_model.progress import CallbackJob

    with interruptible(), Progress() as progress:
        report = check_alignment(
            open_session(folder, **reading),
            job=CallbackJob(lambda done, total, _: progress(done, total, "comparing streams")),
        )
    lags = [
        {
            **asdict(lag),
            "frames": lag.frames,
            "shift_frames": lag.shift_frames,
            "is_sure": lag.is_sure,
            "words": lag.describe(),
        }
        for lag in report.lags
    ]
    return {
        "lags": lags,
        "problems": list(report.problems),
        "remark": report.remark,
        "lines": list(report.lines),
    }


# -- folders of sessions -------------------------------------------------------------
def is_collection(path: Path) -> bool:
    """Return True if a folder is not a session, but may contain some."""
    from omnimouse_model.data.open import is_session

    return path.is_dir() and not is_session(path)


def catalogue_table(folder: Path, column: str, as_json: bool, reading: dict[str, Any]) -> None:
    """Print one row per session; without any, explain what a session looks like.

    Ctrl-C ends the search; the sessions read until then are printed.
    """
    from omnimouse_model.data.open import open_session
    from omnimouse_model.data.session_index import Catalogue, entries_of

    root = expanded(folder).absolute()
    entries: list[Entry] = []
    is_stopped = False
    try:
        with interruptible(), Progress() as progress:
            for entry in entries_of(root, CallbackJob(progress), **reading):
                entries.append(entry)
    except KeyboardInterrupt:
        is_stopped = True
    if not entries and not is_stopped:
        # Raises the error that explains the known formats.
        open_session(folder)
    catalogue = Catalogue(root, tuple(entries)).sorted_by(column)
    rows = [_entry_row(entry, root) for entry in catalogue]
    emit(rows, as_json=as_json, text="\n".join(_catalogue_lines(catalogue)))
    if is_stopped:
        echo("stopped before the end: there may be more sessions", err=True)
        sys.exit(STOPPED)


def _catalogue_lines(catalogue: "Catalogue") -> Iterator[str]:
    """Yield the table of a folder, the number of its sessions, and their problems."""
    from omnimouse_model.data.session_index import EMPTY, count_text, row_text

    rows, notes = [], []
    for entry in catalogue:
        row = row_text(entry, catalogue.folder)
        if entry.problems:
            notes.append(f"  - {row['path']}: {row['problems']}")
        # The table shows the number of problems; the notes below it name them.
        rows.append(row | {"problems": str(len(entry.problems) or EMPTY)})
    # In a pipe the table has the same width on every machine.
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else TABLE_WIDTH
    right = ("neurons", "minutes", "problems")
    lines = table(rows, right=right).splitlines()
    # A narrow table omits one column first, then shortens texts.
    is_narrow = max(map(len, lines)) > width
    if is_narrow:
        rows = shorten([{k: row[k] for k in row if k != WIDE} for row in rows], width)
        lines = table(rows, right=right).splitlines()
    yield from (*lines, count_text(catalogue), *notes)
    if is_narrow:
        yield f"Minutes {WIDE} and complete lists are in --json."


def _entry_row(entry: "Entry", folder: Path) -> dict[str, Any]:
    path = str(entry.path.relative_to(folder))
    fields = {**asdict(entry), "path": path, "behavior": list(entry.behavior)}
    return {"name": "session", "value": entry.id, "unit": "id", **fields}


# -- sessions ----------------------------------------------------------------------
def session_row(path: Path | str, **reading: Any) -> dict[str, Any]:
    """Open a session and return the `session` row of `--json`."""
    from omnimouse_model.data.open import open_session

    session = open_session(path, **reading)
    is_on_probes = session.units.probe is not None
    areas = None
    if session.units.area is not None:
        areas = dict(Counter(filter(None, session.units.region_of)))
    # -1 is an unknown plane.
    n_groups = len({p for p in session.units.plane.tolist() if p >= 0})
    return {
        "name": "session",
        "value": session.id,
        "unit": "id",
        "id": session.id,
        "animal_id": session.animal_id,
        "path": str(session.path),
        "format": session.format,
        "fingerprint": session.fingerprint,
        "neurons": session.n_neurons,
        "duration_s": session.duration_s,
        "recorded_s": session.recorded_s,
        "recorded": session.recorded_text,
        "streams": {n: _stream(session, s) for n, s in session.streams.items()},
        "spikes": session.responses.has_events,
        "trials": dict(Counter(session.trials.kind.tolist())),
        "tiers": session.tiers(),
        "windows": len(session.window_indices(spec=default_spec())),
        "areas": areas,
        "planes": 0 if is_on_probes else n_groups,
        "probes": n_groups if is_on_probes else 0,
        "behavior": list(session.behavior_names),
        "assumptions": [asdict(note) for note in session.assumptions],
        "warnings": [asdict(note) for note in session.warnings],
    }


def _stream(session: "Session", stream: "Signal | Stimulus") -> dict[str, Any]:
    """Return rate, span on the session clock and size of one stream."""
    from omnimouse_model.data.signal import Signal

    # Streams have times of the recording; the session clock starts at `t0`.
    interval = stream.valid_interval()
    span = {
        "start_s": interval.start - session.t0,
        "end_s": interval.stop - session.t0,
    }
    if isinstance(stream, Signal):
        return {
            "rate_hz": stream.rate_hz,
            **span,
            "samples": stream.n_samples,
            "columns": stream.n_columns,
            "dtype": str(stream.dtype),
            "phase_shifts": stream.shift_s is not None,
            "names": list(stream.names),
            "units": list(stream.units),
        }
    slots = len(stream.slot_t)
    return {
        "rate_hz": _frame_rate(stream),
        **span,
        "frames": slots,
        "trials": len(stream.trials),
        "size": list(stream.size),
    }


def _frame_rate(stimulus: "Stimulus") -> float | None:
    """Return the median frame rate within videos; None without a video."""
    import numpy as np

    video = stimulus.trials.kind[stimulus.slot_trial] == "video"
    # Steps between trials include a pause and say nothing about the frame rate.
    within = video[1:] & (stimulus.slot_trial[1:] == stimulus.slot_trial[:-1])
    steps = np.diff(stimulus.slot_t)[within]
    return float(1.0 / np.median(steps)) if len(steps) else None


def session_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text lines of a session's row."""
    animal = f", animal {row['animal_id']}" if row["animal_id"] else ""
    yield f"Session {row['id']}{animal} ({row['format']})"
    yield f"  {row['path']}"
    recorded = row["recorded"]
    yield f"  {row['neurons']:,} neurons, {recorded} of responses"
    yield "Streams"
    for name, stream in row["streams"].items():
        yield f"  {name:<12} {_stream_line(stream)}"
    names = {"none": "without video"}
    kinds = ", ".join(f"{n} {names.get(kind, kind)}" for kind, n in row["trials"].items())
    yield f"Trials  {kinds or 'none'}"
    yield "Tiers"
    for tier, minutes in row["tiers"].items():
        yield f"  {tier:<18} {minutes:z8.2f} min"
    yield f"  {row['windows']:,} starts of complete windows of OmniMouse (2 s)"
    areas = row["areas"]
    if areas is None:
        yield "Areas   not stored"
    else:
        counts = [f"{area}: {n:,}" for area, n in areas.items()]
        n_without = row["neurons"] - sum(areas.values())
        counts += [f"{n_without:,} without an area"] * bool(n_without)
        yield f"Areas   {', '.join(counts)}"
    if row["planes"]:
        yield f"Planes  {row['planes']}"
    if row["probes"]:
        yield f"Probes  {row['probes']}"
    yield from _notes("Assumed, because the files do not state it", row["assumptions"])
    yield from _notes("Warnings", row["warnings"])
    if "alignment" in row:
        yield "Alignment"
        for line in row["alignment"]["lines"]:
            yield f"  - {line}"
    if row["spikes"] and not row["trials"]:
        yield (
            "The recording has no trials; models of spikes need them (--trial-event "
            "names the column of a trial table at whose times they begin)."
        )
    absent = [label for name, label in STREAMS.items() if name not in row["streams"]]
    without = f", but has no {', no '.join(absent)}" if absent else ""
    state = "can be used" if row["warnings"] else "has no problems"
    if not row["windows"]:
        state = "can be displayed, but is too short for a prediction"
    yield f"The session {state}{without}."


def _stream_line(stream: Mapping[str, Any]) -> str:
    rate = stream["rate_hz"]
    # Still images have no rate; the text has the width of a rate.
    text = f"{rate:7.4g} Hz" if rate is not None else "  still   "
    span = f"{stream['start_s']:z9.2f} to {stream['end_s']:z.2f} s"
    if "frames" in stream:
        size = "×".join(str(n) for n in stream["size"])
        return f"{text} {span}, {stream['frames']:,} frames of {size}"
    names = f" ({', '.join(stream['names'])})" if stream["names"] else ""
    columns = "1 column" if stream["columns"] == 1 else f"{stream['columns']:,} columns"
    return f"{text} {span}, {columns}{names}"


def _notes(title: str, notes: list[dict[str, str]]) -> Iterator[str]:
    if notes:
        yield title
    for note in notes:
        yield f"  - {note['message']}"


# -- checkpoints, as `omnimouse info` describes them
MAX_SESSIONS = 12
"""Maximum number of sessions of a checkpoint that are listed."""


def checkpoint_row(path: Path) -> dict[str, Any]:
    """Describe a checkpoint by its family; the `checkpoint` row of `--json`."""
    from omnimouse_model.inference.families import describe

    family, description = describe(path)
    return _row(family.name, str(path), description)


def predictor_row(name: str) -> dict[str, Any]:
    """Describe a model that needs no file, in the same form."""
    from omnimouse_model.inference.families import family_of_predictor
    from omnimouse_model.inference.registry import load_predictor
    from omnimouse_model.predict.family import Description

    predictor = load_predictor(name, device="cpu")
    family, needs = family_of_predictor(predictor), predictor.needs
    reads = {
        "responses": needs.sees_responses,
        "video": needs.sees_video,
        "behaviour": needs.sees_behavior,
    }
    facts: dict[str, str | int | float] = {
        "sees": ", ".join(label for label, is_read in reads.items() if is_read) or "nothing",
        "windows": f"{needs.spec.n_samples} samples in {needs.spec.duration_s:g} s",
        **({"sessions": "any recording"} if needs.sessions is None else {}),
    }
    title = name if family is None else family.title
    description = Description(title, dict(needs.n_neurons), facts)
    return _row("" if family is None else family.name, predictor.predictor_id, description)


def _row(family: str, source: str, description: "Description") -> dict[str, Any]:
    facts = dict(description.facts)
    config: dict[str, Any] = {}
    for path in [path for path in facts if path.startswith("config.")]:
        *folders, last = path.split(".")[1:]
        place = config
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = facts.pop(path)
    return {
        "name": "checkpoint",
        "value": facts.pop("parameters", None),
        "unit": "parameters",
        "family": family,
        "title": description.title,
        "size": facts.pop("size", "custom"),
        "facts": facts,
        "config": config,
        "sessions": dict(description.sessions),
        "assumptions": list(description.assumptions),
        "source": source,
    }


def checkpoint_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text lines of a checkpoint's row."""
    yield f"Checkpoint {row['source']}"
    size = "" if row["size"] == "custom" else f" {row['size']}"
    parameters = "" if row["value"] is None else f": {row['value']:,} parameters"
    yield f"  {row['title']}{size}{parameters}"
    yield from (f"  {label}: {fact}" for label, fact in row["facts"].items())
    neurons = sum(row["sessions"].values())
    yield f"  knows {count(len(row['sessions']), 'session')}, {count(neurons, 'neuron')}"
    for name, n_neurons in list(row["sessions"].items())[:MAX_SESSIONS]:
        yield f"    {name}: {count(n_neurons, 'neuron')}"
    n_others = len(row["sessions"]) - MAX_SESSIONS
    if n_others > 0:
        yield f"    and {n_others} more"
    if row["assumptions"]:
        yield "Assumed"
        yield from (f"  - {message}" for message in row["assumptions"])
    if row["config"]:
        yield "The complete config is in --json."


@click.command("report")
@click.argument("analysis", type=click.Path(path_type=Path))
@inputs.file_option("--out", help="The page. [default: beside the analysis, with its name]")
@click.option(
    "--recording", default="", show_default=False, help="Place of the recording, if it was moved."
)
@inputs.repeated(
    *("--sweep", "sweeps"),
    help="A saved context sweep to compare.",
    type=click.Path(path_type=Path, dir_okay=False),
)
@click.option(
    "--no-tier",
    "scores_tier",
    flag_value=False,
    default=True,
    show_default=False,
    help="Leave out scores and curves over the whole tier, which take minutes.",
)
@inputs.device_option
@inputs.threads_option()
def report(
    analysis: Path,
    out: Path | None,
    recording: str,
    sweeps: tuple[Path, ...],
    scores_tier: bool,
    device: "Device",
) -> None:
    """Write the task, the prediction and the scores of ANALYSIS as a page.

    Predictions are computed again, with the model and the recording of the analysis.
    Scores and curves over the tier that a window or an earlier report has stored are
    used. The page needs no network and no other file. After Ctrl-C, the same command
    goes on with the scores that it has.
    """
    from omnimouse_model.live.analysis_file import SUFFIX
    from omnimouse_model.live.inference.tier_results import ScoreStore
    from omnimouse_model.live.report import report_of_file, step_text
    from omnimouse_widgets.report.page import write_page

    name = analysis.name.removesuffix(SUFFIX).removesuffix(".json")
    page = out or analysis.with_name(f"{name}.html")
    with interruptible(), Progress() as progress:

        def report_progress(text: str, share: float | None = None) -> None:
            # Steps of unknown length show a message only.
            if share is None:
                progress.show_on_terminal(text)
            else:
                progress.show_share(share, text)

        def report_page(text: str, share: float | None = None) -> None:
            report_progress(step_text("page", text, scores_tier=scores_tier), share)

        content = report_of_file(
            analysis,
            recording=recording,
            device=device,
            sweeps=sweeps,
            scores_tier=scores_tier,
            scores=ScoreStore(),
            report=report_progress,
        )
        write_page(content, page, report_page)
    echo(f"Report: {page}")
