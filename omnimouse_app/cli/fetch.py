"""`omnimouse fetch`: checkpoints and recordings from the model hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.output import Progress, emit
from omnimouse_app.cli.stopping import end_stopped, interruptible

if TYPE_CHECKING:
    from omnimouse_model.data.hub.download import Listing

_COLUMNS = ("name", "value", "unit")


@click.command("fetch")
@click.argument("name", required=False)
@click.option(
    "--to", type=click.Path(path_type=Path), help="A folder to put it in; else a cache."
)
@click.option(
    "--list",
    "as_list",
    is_flag=True,
    help="Say what is there, and fetch none.",
)
@click.option(
    "--login", is_flag=True, help="Keep a read token in the system's keyring."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, nothing else.")
def command(
    name: str | None, to: Path | None, as_list: bool, login: bool, as_json: bool
) -> None:
    """Fetch NAME: omnimouse-5M, a released recording, or hf://… of either.

    --list alone names the released checkpoints and recordings.

    Every file is compared with its checksum. Ctrl-C stops; the same command goes on
    from there, and what was fetched once is not asked for again. An archive on this
    machine is unpacked, beside it or to the folder given.
    """
    if login:
        _log_in()
    if name is None and login and not as_list:
        return
    if name is None and not as_list:
        raise click.UsageError(
            "Name what to fetch, for example omnimouse-5M; --list says what there is."
        )
    try:
        with interruptible():
            if name is None:
                _show_all(as_json)
            elif as_list:
                _show_listing(name, as_json)
            else:
                _fetch(name, to, as_json)
    except KeyboardInterrupt:
        end_stopped(_kept("" if as_list else name or "", to))


def _kept(name: str, to: Path | None) -> str:
    """Return how much of an interrupted download is saved, and how to continue."""
    from omnimouse_model.data.hub.fetch_session import kept_bytes
    from omnimouse_model.data.hub.names import hub_place

    # An archive on this machine is not downloaded.
    arrived = kept_bytes(name, to) if hub_place(name) is not None else 0
    if not arrived:
        return "nothing has been written"
    return f"{arrived / 2**20:,.1f} MiB are kept: the same command goes on from there"


def _fetch(name: str, to: Path | None, as_json: bool) -> None:
    progress = Progress()
    path = _fetched(name, to, progress)
    progress.finish()
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    # A checkpoint can be a single file: `rglob` of a file yields nothing.
    size = size or path.stat().st_size
    row = {
        "name": name,
        "value": size / 2**20,
        "unit": "MiB",
        "path": str(path),
    }
    if as_json:
        emit([row], as_json=True)
    else:
        click.echo(f"{path}: {row['value']:,.1f} MiB")


def _fetched(name: str, to: Path | None, progress: Progress) -> Path:
    from omnimouse_model.data.hub.fetch_session import fetch_session, known_place
    from omnimouse_model.data.hub.unpack import is_archive, unpack, without_ending
    from omnimouse_model.predict.omnimouse.hub_checkpoints import fetch_checkpoint

    def tell(share: float, what: str) -> None:
        progress(int(1000 * share), 1000, what)

    archive = Path(name)
    if is_archive(archive):
        folder = archive.absolute().parent if to is None else to.absolute()
        into = folder / (without_ending(archive.name) or f"{archive.name}.unpacked")
        if into == archive.absolute():
            # An archive without a known ending would be unpacked onto itself.
            into = into.with_name(f"{into.name}.unpacked")
        return unpack(archive, into, lambda share: tell(share, "unpacking"))
    _refuse(name)
    fetch = fetch_session if known_place(name).kind == "dataset" else fetch_checkpoint
    return fetch(name, to, tell)


def _refuse(name: str) -> None:
    """Raise an error for a name that is neither an archive nor on the hub."""
    from omnimouse_model.data.hub.names import hub_place
    from omnimouse_model.data.io.http_file import web_address

    if web_address(name) is not None:
        raise ValueError(
            f"{name} need not be fetched: open_session, info and app read addresses"
        )
    if hub_place(name) is not None:
        return
    if Path(name).is_dir():
        raise IsADirectoryError(f"{name} is a folder on this machine already")
    if Path(name).suffix and not Path(name).exists():
        raise FileNotFoundError(f"there is no file {name}")


def _log_in() -> None:
    from omnimouse_model.data.hub.auth import check_keyring, keep_token

    # Fails before the user types a token that cannot be stored.
    check_keyring()
    keep_token(click.prompt("Read token of the hub", hide_input=True))
    click.echo("kept in the system's keyring", err=True)


def _show_all(as_json: bool) -> None:
    """List the checkpoints, and the recordings on which they were trained."""
    from omnimouse_model.data.hub.download import listing
    from omnimouse_model.data.hub.names import (
        CHECKPOINTS,
        DATASET,
        RECORDINGS,
        HubPlace,
        short_name,
    )

    models: list[dict[str, Any]] = [
        {"name": name, "value": None, "unit": "MiB"} for name in CHECKPOINTS
    ]
    if not as_json:  # known without a connection
        click.echo(f"Checkpoints: {', '.join(CHECKPOINTS)}")
    found = listing(HubPlace("dataset", DATASET, RECORDINGS))
    recordings: list[dict[str, Any]] = [
        {"name": name, "value": file.size / 2**20, "unit": "MiB"}
        for file in found.files
        if (name := short_name(file.path))
    ]
    title = f"{len(recordings)} recordings of {found.place}, {_licence(found)}:"
    rows = [*models, *recordings] if as_json else recordings
    emit(rows, as_json=as_json, title=title, columns=_COLUMNS)


def _licence(found: "Listing") -> str:
    return f"licence {found.licence}" if found.licence else "no licence is stated"


def _show_listing(name: str, as_json: bool) -> None:
    from omnimouse_model.data.hub.download import listing
    from omnimouse_model.data.hub.fetch_session import known_place

    found = listing(known_place(name))
    rows = [
        {
            "name": file.path,
            "value": file.size / 2**20,
            "unit": "MiB",
            "checksum": file.checksum,
        }
        for file in found.files
    ]
    title = f"{found.place} at {found.commit[:12]}, {_licence(found)}"
    emit(rows, as_json=as_json, title=title, columns=_COLUMNS)
