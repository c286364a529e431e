"""`omnimouse predict`: predictions of a whole recording or a tier, in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs
from omnimouse_app.cli.terminal import Progress, emit, exit_stopped, file_row, interruptible

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.masks import Mask
    from omnimouse_model.predict.prediction_file import StoredPredictions


@click.command("predict")
@click.argument("session")
@inputs.model_option()
@click.option(
    "--mask",
    "mask_name",
    metavar="NAME|FILE",
    default="test/video_behavior",
    help="What the model sees and predicts in each window: a strategy, a preset such "
    "as random_half_video_behavior, or a saved mask.",
)
@click.option(
    "--out",
    type=inputs.OutputPath(),
    required=True,
    help="File of predictions, .zarr or .nwb; an unfinished one is continued.",
)
@click.option("--tier", help="Windows of this tier.  [default: the whole recording]")
@inputs.scheduler_option("windows")
@inputs.device_option
@inputs.threads_option()
@inputs.json_option
@inputs.reading_options
def command(
    session: str,
    model: str,
    mask_name: str,
    out: Path,
    tier: str | None,
    as_json: bool,
    reading: dict[str, Any],
    **settings: Any,
) -> None:
    """Predict SESSION and write responses and decoded behaviour to one file.

    SESSION is a simulated session ('demo', 'unseen', 'spikes', 'unseen-spikes') or a
    session's folder. The windows of a tier are those that `omnimouse evaluate` scores,
    with the train windows that its centred scores need; those of the whole recording
    follow each other.

    The file opens as a model: --model FILE in other commands, in napari and in
    notebooks. Ctrl-C and kills lose at most 8 windows: the same command continues.
    """
    from omnimouse_model.analysis.predictions import predict_session
    from omnimouse_model.errors import StoppedError
    from omnimouse_model.predict.prediction_file import saved_windows, unfinished_path

    recording = inputs.named_session(session, **reading)
    mask = named_mask(mask_name, recording)
    with interruptible() as stop, Progress() as progress:
        # What is finished is saved, so a signal must not raise an exception.
        stop.has_results = True
        try:
            found = predict_session(
                model, recording, mask, out, tier=tier, job=stop.job(progress), **settings
            )
        except StoppedError:
            progress.finish()
            part = unfinished_path(out)
            done, planned = saved_windows(part)
            exit_stopped(
                f"{done} of {planned} windows are saved in {part}; the same command continues"
                if part.exists()
                else "nothing was written yet"
            )
    row = _row(found, out)
    emit([row], as_json=as_json, text=_text(row))


def named_mask(name: str, session: "Session") -> "Mask":
    """Return the mask of a file, a strategy or a preset, in this order."""
    from omnimouse_model.errors import MaskError
    from omnimouse_model.live.mask.presets import PRESETS, is_preset, mask_for
    from omnimouse_model.masks import Mask

    if Path(name).is_file():
        return Mask.load(name)
    try:
        # First, so that a name means the same as in `omnimouse evaluate`.
        return Mask.from_strategy(name, session)
    except MaskError as error:
        if is_preset(name):
            return mask_for(name, session)
        presets = [preset.name for preset in PRESETS]
        raise MaskError(
            f"{error} There is no file and no preset of this name either; the presets "
            f"are {', '.join(presets)}."
        ) from None


def _row(found: "StoredPredictions", out: Path) -> dict[str, Any]:
    file, metadata = found.file, found.file.metadata
    first_s, last_s = file.span_s
    adapted = "" if metadata.mask is None else metadata.mask.note
    return file_row("predictions", out) | {
        "session": metadata.session,
        "predictor": metadata.predictor,
        "mask": "" if metadata.mask is None else metadata.mask.name or metadata.mask.mask_id,
        "tier": metadata.tier,
        "units": metadata.units,
        "windows": len(file.window_starts_s),
        "samples": file.responses.shape[0],
        "neurons": len(file.neurons),
        "behavior": list(metadata.behavior_names),
        "first_s": first_s,
        "last_s": last_s,
        "remarks": [text for text in (adapted, *metadata.remarks) if text],
    }


def _text(row: dict[str, Any]) -> str:
    # The scores of `omnimouse evaluate` are centred on predictions of train windows.
    tier = f"tier {row['tier']} and train windows" if row["tier"] else "whole recording"
    span = f"{row['first_s']:z.1f} to {row['last_s']:z.1f} s"
    parts = [
        f"{row['path']}: {row['value']:z,.1f} MiB, {row['session']}, {tier}",
        f"{row['predictor']}, mask {row['mask']}",
        f"{row['windows']:,} windows, predictions from {span}",
    ]
    if row["neurons"]:
        samples = f"{row['samples']:,} samples of {row['neurons']:,} neurons"
        parts.append(f"responses: {samples} ({row['units']})")
    if row["behavior"]:
        parts.append(f"decoded behaviour: {', '.join(row['behavior'])}")
    return "\n".join([*parts, *(f"- {remark}" for remark in row["remarks"])])
