"""JSON and YAML of untrusted files: bounded size, depth and number of values."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import label, read_text

MAX_JSON_BYTES = 256 * 2**20
MAX_YAML_BYTES = 4 * 2**20
_MAX_NODES = 1_000_000


def read_yaml_mapping(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader; errors contain the line.

    With `inside`, the file must lie in that folder, links resolved.
    """
    return _read_mapping(path, inside, MAX_YAML_BYTES, "YAML", _parse_yaml)


def read_json_mapping(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """Read a JSON object of at most 256 MiB; errors contain the line.

    With `inside`, the file must lie in that folder, links resolved.
    """
    return _read_mapping(path, inside, MAX_JSON_BYTES, "JSON", json.loads)


def _read_mapping(
    path: Path,
    inside: Path | None,
    limit: int,
    kind: str,
    parse: Callable[[str], object],
) -> dict[str, Any]:
    text = read_text(path, limit, inside)
    code = f"bad_{kind.lower()}"
    try:
        value = parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)  # of YAML
        line = getattr(error, "lineno", None if mark is None else mark.line + 1)
        position = "" if line is None else f" line {line}"
        problem = getattr(error, "problem", None) or getattr(error, "msg", error)
        raise SessionFormatError(
            path,
            code,
            f"{label(path)}{position}: not valid {kind}: {problem}",
            "only plain keys and values are read",
        ) from error
    if not isinstance(value, Mapping):
        content = "nothing" if value is None else f"a {type(value).__name__}"
        raise SessionFormatError(
            path, code, f"{label(path)}: must hold `key: value` pairs, found {content}"
        )
    return {str(key): item for key, item in value.items()}


def _parse_yaml(text: str) -> object:
    value = yaml.load(text, Loader=_Loader)
    # Without aliases, a text cannot hold more values than it has characters.
    _check_nodes(value, max(_MAX_NODES, len(text)))
    return value


# The C loader is much faster; builds of PyYAML without libyaml lack it.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # chosen at run time: C if it is there
    """Safe YAML loader without merge keys (`<<`).

    A merge copies a mapping, so nested merges grow exponentially.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Raise if a mapping contains a merge key."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not read", key.start_mark
                )


def _check_nodes(value: object, most: int) -> None:
    """Raise if the values are too many with all aliases expanded.

    Nested aliases grow exponentially ("billion laughs").
    """
    # By id, so that each object is counted once however often it is referenced.
    sizes: dict[int, int] = {}

    def size(item: object) -> int:
        if not isinstance(item, dict | list | tuple | set):
            return 1
        if id(item) not in sizes:
            sizes[id(item)] = most  # until the count is known: a cycle exceeds the limit
            inner = [*item, *item.values()] if isinstance(item, dict) else item
            sizes[id(item)] = 1 + sum(map(size, inner))
        return sizes[id(item)]

    if size(value) > most:
        raise ValueError(f"its aliases stand for more than {most:,} values")
