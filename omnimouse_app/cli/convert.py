"""`omnimouse convert`: a session into the store, official shards into one file."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    DEMO_SESSIONS,
    json_option,
    named_session,
    reading_options,
)
from omnimouse_app.cli.output import echo, emit, n_bytes
from omnimouse_app.cli.progress import Progress, StopSignal, exit_stopped, interruptible
from omnimouse_model.progress import CallbackJob

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.data.store import Codec

MAX_NAMES = 12
"""Maximum number of recordings that a message names."""


@click.command("convert")
@click.argument("source")
@click.argument("store", metavar="STORE")
@click.option(
    "--codec",
    type=click.Choice(["default", "fast", "none"]),
    default="default",
    show_default=True,
    help="Compression: zstd (smaller), lz4 (faster to read), or none.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Read the whole store and compare it with the source.",
)
@json_option
@reading_options
def command(
    source: str,
    store: str,
    codec: "Codec",
    verify: bool,
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Write the session SOURCE to STORE, a folder such as mouse.omses.zarr.

    If STORE is an existing folder, or ends in a slash, the session is written into it
    under its own name.

    Values are identical to the bit. Ctrl-C stops; the same command continues.

    An official checkpoint, a folder of rank_<r>.ckpt, is written to one file, such as
    model.safetensors, which contains no pickles.
    """
    if _is_official(Path(source)):
        _convert_checkpoint(source, Path(store), as_json)
        return
    _refuse_collection(source)
    target = Path(store)
    try:
        session = named_session(source, **reading)
        target = _target(store, session)
        with interruptible() as stop, Progress() as progress:
            seconds = _convert(session, target, codec, verify, stop, progress)
    except KeyboardInterrupt:
        # The store is written under this name and renamed when it is complete.
        part = target.with_name(f"{target.name}.part")
        if not part.exists():
            exit_stopped("nothing was written yet")
        exit_stopped(f"the written part is saved in {part}; the same command continues")
    row = _row(session, target, codec) | {"seconds": seconds or 0.0, "verified": verify}
    if seconds is None:
        echo(
            f"{target} is complete: it contains this session, nothing was written",
            err=True,
        )
    # For people the line above is enough; programs always expect an object.
    if as_json or seconds is not None:
        check = ", compared with its source" if verify else ""
        text = (
            f"{target}: {row['value']:z,.1f} MiB ({row['responses_mib']:z,.1f} MiB of "
            f"responses), {row['seconds']:z.1f} s{check}"
        )
        emit([row], as_json=as_json, text=text)


def _convert(
    session: "Session",
    target: Path,
    codec: "Codec",
    verify: bool,
    stop: StopSignal,
    progress: Progress,
) -> float | None:
    """Write and compare; return the seconds of writing, None if it was complete.

    After the first file, Ctrl-C takes effect between two pieces, never within one.
    """
    from omnimouse_model.data.convert import convert, finished_share

    share = finished_share(session, target, codec)
    # A complete store is not compared again.
    if share == 1.0:
        return None
    if share:
        progress.show(f"continuing from {100 * share:z.0f} %")
        progress.finish(keep=True)
    start_s = time.perf_counter()
    stop.show = progress.show_on_terminal
    stop.has_results = True
    written_s = start_s

    def show(done: float, total: float, step: str) -> None:
        nonlocal written_s
        stop.check()
        if step == "writing":
            written_s = time.perf_counter()
        progress(done, total, step)

    convert(session, target, codec, CallbackJob(show), compare=verify)
    return written_s - start_s


def _target(store: str, session: "Session") -> Path:
    """Return the store's folder: as named, or inside it with the session's name."""
    path = Path(store)
    is_into = store.endswith(("/", "\\")) or path.is_dir()
    # An existing store, complete since a kill of this command, is no folder of stores.
    if not is_into or path.suffix == ".zarr" or (path / "zarr.json").is_file():
        return path
    # Ids may have characters that are not allowed in file names on some systems.
    return path / f"{re.sub(r'[^0-9A-Za-z._-]', '_', session.id)}.omses.zarr"


def _refuse_collection(source: str) -> None:
    """Raise a ValueError that names the recordings if a folder contains several."""
    from omnimouse_model.data.session_index import holds_sessions, names_in

    # `./demo` would be a folder; the bare name is the simulated session.
    if source in DEMO_SESSIONS or not holds_sessions(source):
        return
    names = names_in(source)
    n_others = len(names) - MAX_NAMES
    more = f" and {n_others} more" if n_others > 0 else ""
    raise ValueError(
        f"{source} is a folder of recordings: name one of them: "
        f"{', '.join(names[:MAX_NAMES])}{more}"
    )


def _row(session: "Session", store: Path, codec: "Codec") -> dict[str, Any]:
    from omnimouse_model.data.store import RecordedRows

    n_rows, n_neurons = RecordedRows(session.responses).shape
    return {
        "name": "store",
        "value": n_bytes(store) / 2**20,
        "unit": "MiB",
        "path": str(store),
        "codec": codec,
        # Size without compression and pauses, for comparison.
        "responses_mib": n_rows * n_neurons * session.responses.dtype.itemsize / 2**20,
    }


# -- checkpoints -------------------------------------------------------------------
def _is_official(source: Path) -> bool:
    # One file per rank of the training, so the folder is the checkpoint.
    if source.is_dir():
        return any(source.glob("rank_*.ckpt"))
    return source.is_file() and source.match("rank_*.ckpt")


def _convert_checkpoint(source: str, target: Path, as_json: bool) -> None:
    from omnimouse_model.inference.families import converted

    if target.suffix != ".safetensors":
        raise click.UsageError(f"A checkpoint's file ends in .safetensors: {target}")
    # Checkpoints are precious: unlike a store, a file is never continued or replaced.
    if target.exists():
        raise FileExistsError(f"{target} exists: choose another name")
    start_s = time.perf_counter()
    with interruptible():
        path = converted(Path(source), target)
    row = {
        "name": "checkpoint",
        "value": path.stat().st_size / 2**20,
        "unit": "MiB",
        "path": str(path),
        "seconds": time.perf_counter() - start_s,
    }
    text = f"{path}: {row['value']:z,.1f} MiB, {row['seconds']:z.1f} s"
    emit([row], as_json=as_json, text=text)
