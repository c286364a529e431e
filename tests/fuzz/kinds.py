"""Small valid recordings of every format, and the ways to damage them."""

import atexit
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np

from omnimouse_model.data.convert import convert
from omnimouse_model.data.open import open_session
from tests import SESSIONS
from tests.fuzz.damage import (
    WORDS,
    damage_array,
    damage_bytes,
    damage_hdf5,
    damage_npz,
    damage_pickle,
    damage_tree,
    damage_words,
)
from tests.fuzz.damage_archive import damage_archive
from tests.fuzz.damage_parquet import damage_parquet
from tests.fuzz.hub import damage_answer, read_from_hub, write_answers
from tests.fuzz.other_files import OTHER_FILES
from tests.model.alf_folder import ProbeFiles, write_alf
from tests.model.data.readers.test_arrays import session_arrays
from tests.model.data.readers.test_roi import write_minian
from tests.model.experanto_folder import write_folder
from tests.model.nwb_units import write_units
from tests.model.nwb_zarr import write_as_zarr
from tests.model.roi_files import CaimanFile, write_cnmfe_results, write_old_extract
from tests.model.trial_tree_folder import write_tree

Damage = Callable[[Random, Path], str]


WAYS: dict[str, Damage] = {
    ".npy": damage_array,
    ".npz": damage_npz,
    ".tar": damage_archive,
    **dict.fromkeys((".nwb", ".hdf5", ".mat"), damage_hdf5),
    **dict.fromkeys((".pqt", ".parquet"), damage_parquet),
    **dict.fromkeys(WORDS, damage_words),
}
"""Ending of a file that the kit reads -> its damage."""


@dataclass(frozen=True)
class Kind:
    """One kind of recording or other file.

    Attributes
    ----------
    write
        Writes a valid file or folder into a folder.
    read
        Reader of what is no recording.
    more
        Damages beside those of its files; one that is listed twice is twice as frequent.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object] | None = None
    more: tuple[Damage, ...] = ()

    @property
    def whole(self) -> str:
        """Outcome of a file that is read."""
        return "session" if self.read is None else "read"

    def damage(self, draw: Random, root: Path) -> str:
        """Damage a file in a way of the kit's kinds of files that are there."""
        endings = {path.suffix for path in (root, *root.rglob("*"))}
        own = list(dict.fromkeys(way for ending, way in WAYS.items() if ending in endings))
        tree = [damage_tree] if root.is_dir() else []
        return draw.choice([*own, *own, damage_bytes, *tree, *self.more])(draw, root)


def _copied(name: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        source, target = SESSIONS / name, root / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        return target

    return write


def _converted(root: Path) -> Path:
    """Return a store that is converted once and copied."""
    if not _stores:
        made = Path(mkdtemp(prefix="fuzz-store-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        source = open_session(SESSIONS / "experanto_small")
        _stores.append(convert(source, made / "m.omses.zarr"))
    return Path(shutil.copytree(_stores[0], root / "m.omses.zarr"))


_stores: list[Path] = []


def _tree(root: Path) -> Path:
    write_tree(root / "tree")
    return root / "tree"


def _alf(root: Path) -> Path:
    return write_alf(root / "s", ProbeFiles(n_units=3), n_trials=6).path


def _nwb_zarr(root: Path) -> Path:
    return write_as_zarr(SESSIONS / "nwb_small.nwb", root / "nwb_small.nwb.zarr")


def _archived(root: Path) -> Path:
    path = root / "mine.npz"
    np.savez(path, **session_arrays())
    return path


def _packed(root: Path) -> Path:
    """Return a session as a tar archive, which is unpacked before reading."""
    path = root / "mouse.tar"
    with TemporaryDirectory() as folder, tarfile.open(path, "w") as tar:
        tar.add(write_folder(Path(folder) / "s", n_neurons=3), "")
    return path


KINDS: dict[str, Kind] = {
    "alf": Kind(_alf),
    "archive": Kind(_packed),
    "arrays": Kind(_archived),
    "experanto": Kind(lambda root: write_folder(root / "s", n_neurons=3)),
    "sensorium-2023": Kind(_copied("sensorium2023_small")),
    "sensorium-2022": Kind(_copied("sensorium2022_small")),
    "nwb": Kind(_copied("nwb_small.nwb")),
    "caiman": Kind(lambda root: CaimanFile().write(root / "a.hdf5")),
    "cnmfe": Kind(lambda root: write_cnmfe_results(root / "a.mat", is_sparse=True)),
    "extract": Kind(lambda root: write_old_extract(root / "a.mat")),
    "minian": Kind(lambda root: write_minian(root / "minian")),
    "nwb-zarr": Kind(_nwb_zarr),
    "nwb-units": Kind(lambda root: write_units(root / "maze.nwb")),
    "store": Kind(_converted),
    "suite2p": Kind(_copied("suite2p_small"), more=(damage_pickle, damage_pickle)),
    "trial-tree": Kind(_tree),
    **{
        f"hub-{kind}": Kind(write_answers, read_from_hub(kind), (damage_answer,) * 3)
        for kind in ("data", "model")
    },
    **{name: Kind(write, read) for name, (write, read) in OTHER_FILES.items()},
}
