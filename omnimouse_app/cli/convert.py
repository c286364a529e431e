"""`omnimouse convert`: any session into our own store, official shards into a file."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import named_session, reading_options
from omnimouse_app.cli.output import Progress, emit
from omnimouse_app.cli.stopping import interruptible

if TYPE_CHECKING:
    from omnimouse_model.data.store.layout import Codec


@click.command("convert")
@click.argument("source")
@click.argument("store", type=click.Path(path_type=Path))
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
    store: Path,
    codec: "Codec",
    verify: bool,
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Write the session SOURCE to STORE, a folder such as mouse.omses.zarr.

    Values are the same to the bit. Ctrl-C stops; the same command goes on from there.

    An official checkpoint, a folder of rank_<r>.ckpt, is written to one file, such as
    model.safetensors, which holds nothing pickled.
    """
    if _is_official(Path(source)):
        _convert_checkpoint(source, store, as_json)
        return
    from omnimouse_model.data.store.write import convert

    progress = Progress()
    session = named_session(source, progress, **reading)
    began = time.perf_counter()
    writing, comparing = _Told(progress, "writing"), _Told(progress, "comparing")
    with interruptible():
        convert(session, store, codec, writing, comparing if verify else None)
    written = writing.last - began
    progress.finish()
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    responses = session.responses.n_samples * session.n_neurons
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
    compared = ", compared with its source" if verify else ""
    click.echo(
        f"{store}: {size / 2**20:,.1f} MiB ({plain / 2**20:,.1f} MiB of responses), "
        f"{written:.1f} s{compared}"
    )


class _Told:
    """Progress of one part of the work, with the time that is left of it."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._what = progress, what
        self._began = self.last = time.perf_counter()

    def __call__(self, share: float) -> None:
        """Show it; the time is counted from the first share, which is 0."""
        self.last = time.perf_counter()
        self._began = self._began if share else self.last
        gone = self.last - self._began
        left = gone * (1 - share) / share if share > 0.02 else None
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
