"""`omnimouse fetch`: checkpoints and recordings from the model hub."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import json_option
from omnimouse_app.cli.output import Row, echo, emit, n_bytes
from omnimouse_app.cli.progress import Progress, exit_stopped, interruptible
from omnimouse_model.progress import CallbackJob

if TYPE_CHECKING:
    from omnimouse_model.data.hub.fetch import Listing

COLUMNS = ("name", "value", "unit")


@click.command("fetch")
@click.argument("name", required=False)
@click.option("--to", type=click.Path(path_type=Path), help="Target folder. [default: a cache]")
@click.option("--list", "as_list", is_flag=True, help="List the files without downloading them.")
@click.option("--login", is_flag=True, help="Save a read token, as `hf auth login` does.")
@click.option("--trust", multiple=True, help="Save a HOST[:PORT] to which servers may redirect.")
@json_option
def command(
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

        echo(f"trusted hosts are in {trust_hosts(trust)}", err=True)
    # After a login alone there is nothing else to do.
    if name is None and (login or trust) and not as_list:
        return
    if name is None and not as_list:
        raise click.UsageError(
            "Name what to download, for example omnimouse-5M; --list shows the names."
        )
    try:
        with interruptible():
            if name is None:
                _list_all(as_json)
            elif as_list:
                _list_files(name, as_json)
            else:
                _fetch(name, to, as_json)
    except KeyboardInterrupt:
        exit_stopped(_progress_saved("" if as_list else name or "", to))


def _progress_saved(name: str, to: Path | None) -> str:
    """Return how much of an interrupted download is saved, and how to continue."""
    from omnimouse_model.data.hub.fetch import saved_bytes
    from omnimouse_model.data.hub.names import hub_place

    # An archive on this machine is not downloaded.
    saved = saved_bytes(name, to) if hub_place(name) is not None else 0
    if not saved:
        return "nothing has been written"
    return f"{saved / 2**20:z,.1f} MiB are saved: the same command continues"


def _fetch(name: str, to: Path | None, as_json: bool) -> None:
    with Progress() as progress:
        path = _fetched(name, to, progress)
    mib = n_bytes(path) / 2**20
    row = {"name": name, "value": mib, "unit": "MiB", "path": str(path)}
    emit([row], as_json=as_json, text=f"{path}: {mib:z,.1f} MiB")


def _fetched(name: str, to: Path | None, progress: Progress) -> Path:
    from omnimouse_model.data.hub.fetch import require_place
    from omnimouse_model.data.hub.servers import ibl_session_name
    from omnimouse_model.data.open import fetch_session
    from omnimouse_model.inference.hub_checkpoints import fetch_checkpoint
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
    """Raise an error for a name that is neither an archive nor on the hub."""
    from omnimouse_model.data.hub.names import hub_place
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
    echo("saved where `hf auth login` saves it", err=True)


def _list_all(as_json: bool) -> None:
    """List the checkpoints, and the recordings on which they were trained."""
    from omnimouse_model.data.hub.fetch import list_files
    from omnimouse_model.data.hub.names import (
        CHECKPOINTS,
        DATASET,
        RECORDINGS,
        HubPlace,
        short_name,
    )

    if not as_json:  # the names are known without a connection
        echo(f"Checkpoints: {', '.join(CHECKPOINTS)}")
    files = list_files(HubPlace("dataset", DATASET, RECORDINGS))
    recordings: list[Row] = [
        {"name": name, "value": file.size / 2**20, "unit": "MiB"}
        for file in files.files
        if (name := short_name(file.path))
    ]
    title = f"{len(recordings)} recordings of {files.place}, {_licence(files)}:"
    models: list[Row] = [{"name": name, "value": None, "unit": "MiB"} for name in CHECKPOINTS]
    # The table shows recordings only: the line above names the checkpoints.
    rows = [*models, *recordings] if as_json else recordings
    emit(rows, as_json=as_json, title=title, columns=COLUMNS)


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
    emit(rows, as_json=as_json, title=title, columns=COLUMNS)


def _licence(files: "Listing") -> str:
    return f"licence {files.licence}" if files.licence else "no licence is stated"
