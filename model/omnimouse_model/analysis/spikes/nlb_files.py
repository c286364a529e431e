"""Files of the Neural Latents Benchmark: targets, and submissions of rates.

Both are HDF5 files with one group per dataset, such as `mc_maze_20` (bins of 20 ms),
as nlb_tools writes them:

    eval_spikes_heldout                        spikes of held-out neurons (targets)
    eval_spikes_heldin_forward, …_heldout_…    spikes of the bins after each trial
    train_rates_heldin, train_rates_heldout    rates per bin (submissions)
    eval_rates_heldin, eval_rates_heldout
    eval_rates_heldin_forward, eval_rates_heldout_forward

Arrays are (trial, bin, neuron).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.metrics.information import nlb_scores
from omnimouse_model.storage.arrays.hdf5 import Hdf5, hdf5_to_write
from omnimouse_model.storage.byte_source import LocalFile

Arrays = Mapping[str, np.ndarray]
RATES: Final = ("heldin", "heldout")
"""Kinds of rates of a submission, of train and evaluated trials."""
_TARGET: Final = "eval_spikes_heldout"
_FORWARD: Final = ("eval_spikes_heldin_forward", "eval_spikes_heldout_forward")
_MAX_BYTES: Final = 4 * 2**30


def read_nlb(path: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """Read a file of targets or a submission: dataset -> its arrays by name.

    Values that are no numbers are left out.

    Raises
    ------
    SessionFormatError
        The file is missing, damaged, or has no group with arrays.
    """
    import h5py

    path = Path(path)
    file = Hdf5(LocalFile(path))
    found: dict[str, dict[str, np.ndarray]] = {}
    for item in list(file.objects()):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb":
            group, _, name = str(item.name).strip("/").rpartition("/")
            if group:
                values = file.table(str(item.name), _MAX_BYTES)
                found.setdefault(group, {})[name] = values
    if not found:
        raise SessionFormatError(
            path,
            "missing_data",
            f"{path.name} has no group with arrays; expected one per dataset, such as mc_maze_20",
        )
    return found


def write_submission(path: str | Path, datasets: Mapping[str, Arrays]) -> None:
    """Write rates as a submission; the file appears when it is complete.

    Parameters
    ----------
    datasets
        Dataset -> rates per bin by name: `train_rates_*` and `eval_rates_*` for
        "heldin" and "heldout" at least.

    Raises
    ------
    ValueError
        Rates are missing, not (trial, bin, neuron), negative or not finite; the
        message names the dataset and the array.

    Examples
    --------
    >>> from omnimouse_model.analysis.spikes.nlb_files import RATES, write_submission
    >>> names = [f"{t}_rates_{k}" for t in ("train", "eval") for k in RATES]
    >>> rates = {name: np.full((4, 10, 3), 0.2) for name in names}
    >>> write_submission("submission.h5", {"mc_maze_20": rates})
    """
    for dataset, arrays in datasets.items():
        wanted = [f"{tier}_rates_{kind}" for tier in ("train", "eval") for kind in RATES]
        for name in (*wanted, *arrays):
            if name not in arrays:
                raise ValueError(f"{dataset}: {name} is missing.")
            values = arrays[name]
            if values.ndim != 3:
                raise ValueError(
                    f"{dataset}: {name} is {values.shape}; expected (trial, bin, neuron)."
                )
            if not (np.isfinite(values) & (values >= 0)).all():
                raise ValueError(f"{dataset}: {name} has rates that are negative or not finite.")
    with hdf5_to_write(Path(path)) as file:
        for dataset, arrays in datasets.items():
            for name, values in arrays.items():
                file.create_dataset(f"{dataset}/{name}", data=values, compression="gzip")


def score_submission(target: str | Path, submission: str | Path) -> dict[str, dict[str, float]]:
    """Return co-bps, and fp-bps where the targets have it, of each dataset.

    Raises
    ------
    SessionFormatError
        A file cannot be read, or the submission lacks a dataset or an array, or an
        array has another shape than the target; the message names it.
    """
    submission = Path(submission)
    rates = read_nlb(submission)
    scores = {}
    for dataset, arrays in read_nlb(target).items():
        if _TARGET not in arrays:
            continue
        spikes: Arrays = {k: arrays[k] for k in (_TARGET, *_FORWARD) if k in arrays}
        own = rates.get(dataset)
        if own is None:
            raise _missing(submission, f"dataset {dataset}")
        for name, counts in spikes.items():
            _check(submission, dataset, own, name.replace("spikes", "rates"), counts)
        if "eval_rates_heldin" not in own:
            raise _missing(submission, f"{dataset}/eval_rates_heldin")
        scores[dataset] = nlb_scores(spikes, own)
    if not scores:
        target = Path(target)
        raise SessionFormatError(
            target, "missing_data", f"{target.name} has no dataset with {_TARGET}"
        )
    return scores


def _check(path: Path, dataset: str, arrays: Arrays, name: str, counts: np.ndarray) -> None:
    if name not in arrays:
        raise _missing(path, f"{dataset}/{name}")
    if arrays[name].shape != counts.shape:
        raise SessionFormatError(
            path,
            "shape",
            f"{path.name}: {dataset}/{name} is {arrays[name].shape}; the target is {counts.shape}",
        )


def _missing(path: Path, what: str) -> SessionFormatError:
    return SessionFormatError(path, "missing_data", f"{path.name} has no {what}")
