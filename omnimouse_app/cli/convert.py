"""`omnimouse convert`: a session into the store, official shards into one file."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import DEMO_SESSIONS, named_session, reading_options
from omnimouse_app.cli.output import Progress, emit
from omnimouse_app.cli.stopping import Stopping, end_stopped, interruptible

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.data.store.layout import Codec


@click.command("convert")
@click.argument("source")
@click.argument("store", metavar="STORE")
@click.option(
    "--codec",
    type=click.Choice(["default", "fast", "none"]),
    default="default",
    show_default=True,
    help="zstd, lz4, or nothing: smaller, or faster to read.",
)
@click.option(
    "--verify/--no-verify", default=True, help="Read it to the end and compare."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, nothing else.")
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

    Where STORE is a folder that is there, or ends in a slash, the session is put into
    it under its own name.

    Values are the same to the bit. Ctrl-C stops; the same command goes on from there.

    An official checkpoint, a folder of rank_<r>.ckpt, is written to one file, such as
    model.safetensors, which holds nothing pickled.
    """
    if _is_official(Path(source)):
        _convert_checkpoint(source, Path(store), as_json)
        return
    _refuse_collection(source)
    progress = Progress()
    target = Path(store)
    try:
        session = named_session(source, progress, **reading)
        target = _target(store, session)
        with interruptible() as stopping:
            written = _convert(session, target, codec, verify, stopping, progress)
    except KeyboardInterrupt:
        # The store is written under this name and renamed when it is complete.
        part = target.with_name(f"{target.name}.part")
        if not part.exists():
            end_stopped("nothing was written yet")
        end_stopped(
            f"what is written is kept in {part}; the same command goes on from there"
        )
    progress.finish()
    if written is None:
        click.echo(
            f"{target} is complete already: it holds this session, nothing was written",
            err=True,
        )
    _tell(session, target, codec, written or 0.0, verify, as_json)


def _convert(
    session: "Session",
    target: Path,
    codec: "Codec",
    verify: bool,
    stopping: Stopping,
    progress: Progress,
) -> float | None:
    """Write and compare; return the seconds of writing, None if it was complete.

    After the first file, Ctrl-C takes effect between two pieces, never within one.
    """
    from omnimouse_model.data.conversion.write import convert, share_written

    share = share_written(session, target, codec)
    # A complete store is not compared again.
    if share == 1.0:
        return None
    if share:
        progress.say(f"going on from {100 * share:.0f} %")
        progress.finish(keep=True)
    began = time.perf_counter()
    stopping.say = progress.say_on_terminal
    stopping.has_begun = True
    writing = _Told(progress, "writing", stopping, share)
    comparing = _Told(progress, "comparing", stopping)
    convert(session, target, codec, writing, comparing if verify else None)
    return writing.last - began


def _target(store: str, session: "Session") -> Path:
    """Return the store's folder: as given, or inside it with the session's name."""
    given = Path(store)
    is_into = store.endswith(("/", "\\")) or given.is_dir()
    # An existing .zarr folder is a store itself, not a folder of stores.
    if not is_into or given.suffix == ".zarr":
        return given
    return given / f"{re.sub(r'[^0-9A-Za-z._-]', '_', session.id)}.omses.zarr"


def _refuse_collection(source: str) -> None:
    """Raise a ValueError that names the recordings if a folder contains several."""
    from omnimouse_model.data.session_index import holds_sessions, names_in

    if source in DEMO_SESSIONS or not holds_sessions(source):
        return
    names = names_in(source)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    raise ValueError(
        f"{source} is a folder of recordings: name one of them: "
        f"{', '.join(names[:12])}{more}"
    )


def _tell(
    session: "Session",
    store: Path,
    codec: "Codec",
    written: float,
    verify: bool,
    as_json: bool,
) -> None:
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    responses = session.responses.n_samples * session.n_neurons
    # Size without compression, for comparison.
    plain = responses * session.responses.dtype.itemsize
    row = {
        "name": "store",
        "value": size / 2**20,
        "unit": "MiB",
        "path": str(store),
        "codec": codec,
        "responses_mib": plain / 2**20,
        "seconds": written,
        "verified": verify,
    }
    if as_json:
        emit([row], as_json=True)
        return
    # The message about a complete store has been printed already.
    if not written:
        return
    compared = ", compared with its source" if verify else ""
    click.echo(
        f"{store}: {size / 2**20:,.1f} MiB ({plain / 2**20:,.1f} MiB of responses), "
        f"{written:.1f} s{compared}"
    )


class _Told:
    """Progress of one part of the work, with an estimate of the time left."""

    def __init__(
        self, progress: Progress, what: str, stopping: Stopping, first: float = 0.0
    ) -> None:
        self._progress, self._what, self._stopping = progress, what, stopping
        self._first = first
        self._began = self.last = time.perf_counter()

    def __call__(self, share: float) -> None:
        """Show the progress, or stop; the time counts from the first share."""
        self._stopping.heed()
        self.last = time.perf_counter()
        # A resumed conversion starts above 0; only work of this run counts for the
        # estimate.
        if share <= self._first:
            self._began = self.last
        done = share - self._first
        # No estimate from less than 2 % of the work.
        left = (self.last - self._began) * (1 - share) / done if done > 0.02 else None
        words = self._what if left is None else f"{self._what}, {left:.0f} s left"
        self._progress(int(1000 * share), 1000, words)


def _is_official(source: Path) -> bool:
    if source.is_dir():
        return any(source.glob("rank_*.ckpt"))
    return source.is_file() and source.match("rank_*.ckpt")


def _convert_checkpoint(source: str, target: Path, as_json: bool) -> None:
    from omnimouse_model.nets.official import convert_official

    if target.suffix != ".safetensors":
        raise click.UsageError(f"A checkpoint's file ends in .safetensors: {target}")
    if target.exists():
        raise FileExistsError(f"{target} is there already: choose another name")
    began = time.perf_counter()
    with interruptible():
        written = convert_official(source, target)
    row = {
        "name": "checkpoint",
        "value": written.stat().st_size / 2**20,
        "unit": "MiB",
        "path": str(written),
        "seconds": time.perf_counter() - began,
    }
    if as_json:
        emit([row], as_json=True)
        return
    click.echo(f"{written}: {row['value']:,.1f} MiB, {row['seconds']:.1f} s")
