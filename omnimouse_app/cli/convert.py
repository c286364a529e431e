"""`omnimouse convert`, `convert-weights`, `fetch`: files in other formats or places."""

import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs, terminal
from omnimouse_model.display import listed
from omnimouse_model.progress import CallbackJob

if TYPE_CHECKING:
    from omnimouse_model.data.hub.fetch import Listing
    from omnimouse_model.data.session import Session
    from omnimouse_model.data.store import Codec

MAX_NAMES = 12
"""Maximum number of recordings, or of placeholders, that a message names."""


@click.command("convert")
@click.argument("source")
@click.argument("store", metavar="STORE")
@click.option(
    "--codec",
    type=click.Choice(["default", "fast", "none"]),
    default="default",
    help="Compression: zstd (smaller), lz4 (faster to read), or none.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Read the whole store and compare it with the source.",
)
@inputs.json_option
@inputs.reading_options
def command(
    source: str, store: str, codec: "Codec", verify: bool, as_json: bool, reading: dict[str, Any]
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
        session = inputs.named_session(source, **reading)
        target = _target(store, session)
        with terminal.interruptible() as stop, terminal.Progress() as progress:
            seconds = _convert(session, target, codec, verify, stop, progress)
    except KeyboardInterrupt:
        # The store is written under this name and renamed when it is complete.
        part = target.with_name(f"{target.name}.part")
        if not part.exists():
            terminal.exit_stopped("nothing was written yet")
        terminal.exit_stopped(f"the written part is saved in {part}; the same command continues")
    row = _row(session, target, codec) | {"seconds": seconds or 0.0, "verified": verify}
    if seconds is None:
        terminal.echo(
            f"{target} is complete: it contains this session, nothing was written", err=True
        )
    # For people the line above is enough; programs always expect an object.
    if as_json or seconds is not None:
        check = ", compared with its source" if verify else ""
        text = (
            f"{target}: {row['value']:z,.1f} MiB ({row['responses_mib']:z,.1f} MiB of "
            f"responses), {row['seconds']:z.1f} s{check}"
        )
        terminal.emit([row], as_json=as_json, text=text)


def _convert(
    session: "Session",
    target: Path,
    codec: "Codec",
    verify: bool,
    stop: terminal.StopSignal,
    progress: terminal.Progress,
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
    if source in inputs.DEMO_SESSIONS or not holds_sessions(source):
        return
    names = listed(names_in(source), MAX_NAMES)
    raise ValueError(f"{source} is a folder of recordings: name one of them: {names}")


def _row(session: "Session", store: Path, codec: "Codec") -> dict[str, Any]:
    from omnimouse_model.data.store import RecordedRows

    n_rows, n_neurons = RecordedRows(session.responses).shape
    return terminal.file_row("store", store) | {
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

    _check_target(target)
    start_s = time.perf_counter()
    with terminal.interruptible():
        converted(Path(source), target)
    row = terminal.file_row("checkpoint", target) | {"seconds": time.perf_counter() - start_s}
    text = f"{target}: {row['value']:z,.1f} MiB, {row['seconds']:z.1f} s"
    terminal.emit([row], as_json=as_json, text=text)


# -- `omnimouse convert-weights`: published weights of a baseline as a checkpoint -----
def _check_target(target: Path) -> None:
    """Refuse a name of no checkpoint, and one that is taken."""
    if target.suffix != ".safetensors":
        raise click.UsageError(f"A checkpoint's file ends in .safetensors: {target}")
    # Checkpoints are precious: unlike a store, a file is never continued or replaced.
    if target.exists():
        raise FileExistsError(f"{target} exists: choose another name")


@click.command("convert-weights")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=inputs.OutputPath())
@click.option("--family", required=True, metavar="KEY", help="Family of the weights.")
@click.option(
    "--about",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with what the weights do not contain: sessions, config, gray levels.",
)
@click.option(
    "--part", metavar="NAME", help="Mapping that has the weights; by default the largest."
)
@inputs.json_option
def convert_weights(
    source: Path, target: Path, family: str, about: Path | None, part: str | None, as_json: bool
) -> None:
    """Write published weights SOURCE to TARGET, a file such as model.safetensors.

    SOURCE is a pickle of PyTorch, such as model.pth or last.ckpt. Nothing in it is
    executed: classes of other programs become placeholders, which are listed. No other
    command reads such a file. The file beside TARGET says what was read and assumed.

    Tested on files in the layouts of the public programs, written for this purpose; not
    on the published files themselves.
    """
    from omnimouse_model.errors import CheckpointError
    from omnimouse_model.inference.families import families
    from omnimouse_model.predict.checkpoint_file import save_checkpoint
    from omnimouse_model.storage.files import label
    from omnimouse_model.storage.tensors import read_published
    from omnimouse_model.storage.trees import read_json

    _check_target(target)
    if family not in families():
        known = ", ".join(families())
        raise ValueError(f"--family is {family[:80]!r}; the installed families are {known}")
    start_s = time.perf_counter()
    with terminal.interruptible():
        found = read_published(source, part)
        stated = {} if about is None else read_json(about)
        if not isinstance(stated, dict):
            raise ValueError(f"{about} is no JSON object")
        notes = {
            "source": source.name,
            "part": found.part,
            "settings": found.settings,
            "placeholders": list(found.placeholders),
            "assumed": "the defaults of the family where neither file states a value",
        }
        everything: dict[str, Any] = {**stated, "published": notes}
        # Loaded before it is written in its place, so that no file remains that nobody
        # can load.
        with tempfile.TemporaryDirectory(prefix="omnimouse-") as folder:
            trial = save_checkpoint(Path(folder) / target.name, found.tensors, family, everything)
            try:
                families()[family].load(trial, "cpu")
            except CheckpointError as error:
                # Messages name files by their path, or by folder and name.
                reason = str(error)
                for path, name in ((trial.with_suffix(".json"), "--about"), (trial, source.name)):
                    reason = reason.replace(str(path), name).replace(label(path), name)
                raise CheckpointError(f"{source} does not load as {family}: {reason}") from error
        path = save_checkpoint(target, found.tensors, family, everything)
    row = terminal.file_row("checkpoint", target) | {
        "family": family,
        "part": found.part,
        "tensors": len(found.tensors),
        "placeholders": list(found.placeholders),
        "seconds": time.perf_counter() - start_s,
    }
    if found.placeholders and not as_json:
        terminal.echo(f"not imported: {listed(found.placeholders, MAX_NAMES)}", err=True)
    text = f"{path}: {row['tensors']} tensors of {family}, {row['value']:z,.1f} MiB"
    terminal.emit([row], as_json=as_json, text=text)


COLUMNS = ("name", "value", "unit")


@click.command("fetch")
@click.argument("name", required=False)
@click.option("--to", type=click.Path(path_type=Path), help="Target folder. [default: a cache]")
@click.option("--list", "as_list", is_flag=True, help="List the files without downloading them.")
@click.option("--login", is_flag=True, help="Save a read token, as `hf auth login` does.")
@click.option("--trust", multiple=True, help="Save a HOST[:PORT] to which servers may redirect.")
@inputs.json_option
def fetch(
    name: str | None,
    to: Path | None,
    as_list: bool,
    login: bool,
    trust: tuple[str, ...],
    as_json: bool,
) -> None:
    """Download NAME: omnimouse-5M, a released recording, or hf://… of either.

    ibl:EID, or ibl:subject/date/number, is a session of the International Brain
    Laboratory, of which the spikes, trials and wheel are downloaded.

    --list alone names the released checkpoints and recordings.

    Every file is compared with its checksum. Ctrl-C stops; the same command continues
    and does not download a finished file again. An archive on this machine is
    unpacked, beside it or to the folder of --to.
    """
    if login:
        _log_in()
    if trust:
        from omnimouse_model.storage.web import trust_hosts

        terminal.echo(f"trusted hosts are in {trust_hosts(trust)}", err=True)
    # After a login alone there is nothing else to do.
    if name is None and (login or trust) and not as_list:
        return
    if name is None and not as_list:
        raise click.UsageError(
            "Name what to download, for example omnimouse-5M; --list shows the names."
        )
    try:
        with terminal.interruptible():
            if name is None:
                _list_all(as_json)
            elif as_list:
                _list_files(name, as_json)
            else:
                _fetch(name, to, as_json)
    except KeyboardInterrupt:
        terminal.exit_stopped(_progress_saved("" if as_list else name or "", to))


def _progress_saved(name: str, to: Path | None) -> str:
    """Return how much of an interrupted download is saved, and how to continue."""
    from omnimouse_model.data.hub.exchange import hub_place
    from omnimouse_model.data.hub.fetch import saved_bytes

    # An archive on this machine is not downloaded.
    saved = saved_bytes(name, to) if hub_place(name) is not None else 0
    if not saved:
        return "nothing has been written"
    return f"{saved / 2**20:z,.1f} MiB are saved: the same command continues"


def _fetch(name: str, to: Path | None, as_json: bool) -> None:
    with terminal.Progress() as progress:
        path = _fetched(name, to, progress)
    row = terminal.file_row(name, path)
    terminal.emit([row], as_json=as_json, text=f"{path}: {row['value']:z,.1f} MiB")


def _fetched(name: str, to: Path | None, progress: terminal.Progress) -> Path:
    from omnimouse_model.data.hub.fetch import require_place
    from omnimouse_model.data.hub.servers import ibl_session_name
    from omnimouse_model.data.open import fetch_session
    from omnimouse_model.inference.registry import fetch_checkpoint
    from omnimouse_model.storage.archives import is_archive, unpack, without_ending

    if ibl_session_name(name) is not None:
        return fetch_session(name, to, CallbackJob(progress))
    archive = Path(name).absolute()
    if is_archive(archive):
        folder = archive.parent if to is None else to.absolute()
        target = folder / (without_ending(archive.name) or f"{archive.name}.unpacked")
        if target == archive:
            # An archive without a known ending would be unpacked onto itself.
            target = target.with_name(f"{target.name}.unpacked")
        return unpack(archive, target, CallbackJob(progress))
    _refuse(name)
    fetch = fetch_session if require_place(name).kind == "dataset" else fetch_checkpoint
    return fetch(name, to, CallbackJob(progress))


def _refuse(name: str) -> None:
    """Raise an error if a name cannot be downloaded: an address, or a folder of this machine."""
    from omnimouse_model.data.hub.exchange import hub_place
    from omnimouse_model.storage.web import web_address

    if web_address(name) is not None:
        raise ValueError(f"{name} needs no download: open_session, info and app read addresses")
    if hub_place(name) is not None:
        return
    if Path(name).is_dir():
        raise IsADirectoryError(f"{name} is a folder on this machine")
    if Path(name).suffix and not Path(name).exists():
        raise FileNotFoundError(f"there is no file {name}")


def _log_in() -> None:
    from omnimouse_model.data.hub.exchange import save_token

    # Hidden input, and no option: a token on the command line would be in the shell's
    # history.
    save_token(click.prompt("Read token of the hub", hide_input=True))
    terminal.echo("saved where `hf auth login` saves it", err=True)


def _list_all(as_json: bool) -> None:
    """List the checkpoints, and the recordings on which they were trained."""
    from omnimouse_model.data.hub.exchange import (
        CHECKPOINTS,
        DATASET,
        RECORDINGS,
        HubPlace,
        short_name,
    )
    from omnimouse_model.data.hub.fetch import list_files

    if not as_json:  # the names are known without a connection
        terminal.echo(f"Checkpoints: {', '.join(CHECKPOINTS)}")
    files = list_files(HubPlace("dataset", DATASET, RECORDINGS))
    recordings: list[terminal.Row] = [
        {"name": name, "value": file.size / 2**20, "unit": "MiB"}
        for file in files.files
        if (name := short_name(file.path))
    ]
    title = f"{len(recordings)} recordings of {files.place}, {_licence(files)}:"
    models: list[terminal.Row] = [
        {"name": name, "value": None, "unit": "MiB"} for name in CHECKPOINTS
    ]
    # The table shows recordings only: the line above names the checkpoints.
    rows = [*models, *recordings] if as_json else recordings
    terminal.emit(rows, as_json=as_json, title=title, columns=COLUMNS)


def _list_files(name: str, as_json: bool) -> None:
    from omnimouse_model.data.hub.fetch import list_files, require_place

    files = list_files(require_place(name))
    rows = [
        {
            "name": file.path,
            "value": file.size / 2**20,
            "unit": "MiB",
            "checksum": file.checksum,
        }
        for file in files.files
    ]
    title = f"{files.place} at {files.commit[:12]}, {_licence(files)}"
    terminal.emit(rows, as_json=as_json, title=title, columns=COLUMNS)


def _licence(files: "Listing") -> str:
    return f"licence {files.licence}" if files.licence else "no licence is stated"
