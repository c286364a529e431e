"""NWB files as zarr folders in the layout of hdmf-zarr, made from HDF5 files."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr


def write_as_zarr(source: Path, folder: Path, version: int = 2) -> Path:
    """Write the groups, arrays, attributes, links and references of an HDF5 file."""
    with h5py.File(source) as file:
        root = zarr.create_group(folder, zarr_format=version)
        root.attrs.update({k: _attribute(file, v) for k, v in file.attrs.items()})
        _write(file, file, folder, "", version)
    return folder


def _write(file: h5py.File, group: h5py.Group, folder: Path, place: str, version: int) -> None:
    for name in group:
        inner, path = f"{place}/{name}".strip("/"), folder / place / name
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            add_link(folder / place, name, link.path.strip("/"))
        elif isinstance(group[name], h5py.Group):
            made = zarr.create_group(path, zarr_format=version)
            made.attrs.update({k: _attribute(file, v) for k, v in group[name].attrs.items()})
            _write(file, group[name], folder, inner, version)
        else:
            _write_array(file, group[name], path, version)


def _write_array(file: h5py.File, item: h5py.Dataset, path: Path, version: int) -> None:
    values = np.atleast_1d(np.asarray(item))
    attributes = {k: _attribute(file, v) for k, v in item.attrs.items()}
    if values.dtype.kind in "OS" and values.dtype.names is None:
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values.reshape(-1)]
        write_texts(path, texts, attributes)
    elif values.dtype.names is None:
        chunks = tuple(max(1, -(-n // 2)) for n in values.shape)
        array = zarr.create_array(
            path, shape=values.shape, dtype=values.dtype, chunks=chunks, zarr_format=version
        )
        array[...] = values
        array.attrs.update(attributes)


def write_texts(path: Path, texts: list[str], attributes: dict[str, Any] | None = None) -> None:
    """Write texts in one chunk of the codec `vlen-utf8`, without compression."""
    parts = [text.encode() for text in texts]
    content = len(parts).to_bytes(4, "little")
    content += b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    path.mkdir(parents=True)
    (path / "0").write_bytes(content)
    about = {"zarr_format": 2, "shape": [len(texts)], "chunks": [max(1, len(texts))]}
    about |= {"dtype": "|O", "compressor": None, "fill_value": 0, "order": "C"}
    (path / ".zarray").write_text(json.dumps(about | {"filters": [{"id": "vlen-utf8"}]}))
    (path / ".zattrs").write_text(json.dumps(attributes or {}))


def add_link(folder: Path, name: str, path: str, source: str = ".") -> None:
    """Add a link to a group of format 2 or 3."""
    group = zarr.open_group(folder, mode="r+")
    links = [
        *group.attrs.get("zarr_link", []),
        {"name": name, "path": f"/{path}", "source": source},
    ]
    group.attrs["zarr_link"] = links


def _attribute(file: h5py.File, value: Any) -> Any:
    if isinstance(value, h5py.Reference):
        return {"zarr_dtype": "object", "value": {"source": ".", "path": file[value].name}}
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
