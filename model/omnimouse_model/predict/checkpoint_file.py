"""The JSON file beside the weights of a checkpoint, checked, and strict loading.

It has the version of its form, the family, the config and the sessions. Both files have one
`pair`: weights and a description that were not saved together are refused.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from omnimouse_model.errors import CheckpointError
from omnimouse_model.predict.family import Description
from omnimouse_model.storage.tensors import read_safetensors, write_safetensors
from omnimouse_model.storage.trees import Within, decode, read_json, refused_as, shown
from omnimouse_model.storage.write import write_json

# -- weights that are loaded into a network strictly, without memory for a second copy
Net = TypeVar("Net", bound=nn.Module)


def load_strictly(make: Callable[[], Net], state: Mapping[str, Tensor], source: str) -> Net:
    """Make a network and give it the weights of a file, each in its own precision.

    Parameters
    ----------
    make
        Makes the network from its config.
    state
        Name -> tensor.
    source
        Path or name of the file, for messages.

    Raises
    ------
    CheckpointError
        The config makes no network, or entries are missing, unexpected, or of another
        shape or type; the message names them.
    """
    try:
        # On "meta" no memory is allocated: the weights replace the parameters.
        with torch.device("meta"):
            net = make()
    except Exception as error:  # numbers that make no net fail in many ways
        raise CheckpointError(
            f"{source} has a config that makes no net: {repr(error)[:200]}."
        ) from error
    expected = net.state_dict()
    missing = expected.keys() - state.keys()
    extra = state.keys() - expected.keys()
    wrong = [
        f"{key} {_form(state[key])} for {_form(value)}"
        for key, value in expected.items()
        if key in state and not _fits(state[key], value)
    ]
    if missing or extra or wrong:
        raise CheckpointError(
            f"{source} does not fit its config: {_some('missing', missing)}"
            f"{_some('unexpected', extra)}{_some('of another form', wrong)}"
            "Was it saved from another size or version?"
        )
    typed = {k: v.to(expected[k].dtype) for k, v in state.items()}
    net.load_state_dict(typed, strict=True, assign=True)
    return net.requires_grad_(True).eval()


def _fits(value: Tensor, expected: Tensor) -> bool:
    """Return whether a tensor has the expected shape and kind of number."""
    same_kind = value.is_floating_point() == expected.is_floating_point()
    return value.shape == expected.shape and same_kind and not value.is_complex()


def _form(value: Tensor) -> str:
    """Return the shape for an error message, with the type if it is not float32."""
    kind = "" if value.dtype == torch.float32 else f" {value.dtype}"
    return f"{tuple(value.shape)}{kind}".replace("torch.", "")


def _some(word: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    some = ", ".join(name[:120] for name in listed[:4]) + (", …" if len(listed) > 4 else "")
    return f"{len(listed)} {word} ({some}). "


# -- recording of intermediate maps of a network, for comparisons and for users -------
Record = Callable[[str, Tensor], None]
"""Function that receives the name and value of an intermediate map."""


def no_record(name: str, value: Tensor) -> None:
    """Record nothing."""


# -- the JSON file beside the weights of a checkpoint of this project, checked --------
_log = logging.getLogger(__name__)
MAX_SESSIONS, MAX_NEURONS = 10_000, 10**7
"""Limits: a hostile description must not allocate all memory."""
Counts = Annotated[dict[str, Annotated[int, Within(1, MAX_NEURONS)]], Within(0, MAX_SESSIONS)]
Size = Annotated[int, Within(1, 4096)]
Copies = Annotated[int, Within(1, 64)]
Sizes = Annotated[tuple[Size, ...], Within(1, 64)]
"""Numbers of a config; of copies, each is a layer, a head or a stream; sizes are of layers."""


FORMAT = 1
"""Version of the envelope: the fields that `save_checkpoint` adds to those of a family."""
FINISHED, BEST, MODEL = "finetuned.safetensors", "best.safetensors", "model.safetensors"
"""Weights in the folder of a run: of a fine-tuning, of the best validation, and the last."""
ABOUT = "finetune.json"
"""Settings in the folder of a fine-tuning, or of a fit in a window."""
TRAINED = (BEST, MODEL)
"""Weights that a training writes; without a score there are no best ones."""


class Envelope(NamedTuple):
    """A checkpoint that was read: tensors, family, what the family says, and its pair id."""

    tensors: dict[str, Tensor]
    family: str
    about: dict[str, Any]
    pair: str | None


def save_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], family: str, about: Mapping[str, Any]
) -> Path:
    """Write weights and the JSON file beside them, each atomically.

    Parameters
    ----------
    path
        The .safetensors file; no other process may write it meanwhile.
    about
        What the family says of the weights, as JSON: config, sessions, card.
    """
    path = path.with_suffix(".safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    pair = secrets.token_hex(8)
    provenance = {"software": f"omnimouse-app {_version()}"}
    envelope = {"format": FORMAT, "family": family, "provenance": provenance, "pair": pair}
    # The weights last: with them, the checkpoint is complete.
    # What a file says of itself, such as `pair`, is not that of another one.
    write_json(path.with_suffix(".json"), {**about, **envelope})
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_safetensors(path, plain, {"pair": pair})
    return path


def _version() -> str:
    try:
        return version("omnimouse-app")
    except PackageNotFoundError:  # a clone that is not installed
        return "from a clone"


def checkpoint_file(path: Path, names: Sequence[str] = (FINISHED, *TRAINED)) -> Path:
    """Return the first weights of these names in the folder of a run, or the path of a file.

    A folder without weights, such as one of another layout, is returned as it is.
    """
    if path.is_dir():
        return next((path / n for n in names if (path / n).exists()), path)
    return path.with_suffix(".safetensors") if path.suffix == ".json" else path


def read_checkpoint(path: Path, family: str = "") -> Envelope:
    """Read the weights in a file, or in the folder of a run, and what is said of them.

    Parameters
    ----------
    family
        Family that is expected; any without it.

    Raises
    ------
    CheckpointError
        A file is missing, damaged, of another family or of a newer version, or both were
        not saved together.
    """
    file = checkpoint_file(path)
    about = read_about(file, family)
    tensors, notes = read_safetensors(file)
    stated, found = about.get("pair"), notes.get("pair")
    described = file.with_suffix(".json").name
    # Of files that were saved before both had a `pair`, it is not known whether they belong
    # together.
    if stated is None and found is None:
        _log.warning(
            "%s and %s were saved before both named each other: whether they belong "
            "together is not checked. Save them anew to check it.",
            file.name,
            described,
        )
    elif stated != found:
        raise CheckpointError(
            f"{file.name} and {described} were not saved together: one of them was "
            "replaced, or saving was cut short. Copy both again, or train on."
        )
    return Envelope(tensors, family or str(about.get("family", "")), about, stated)


def read_about(path: Path, family: str = "") -> dict[str, Any]:
    """Read and check the JSON file beside weights; see `read_checkpoint`."""
    described = path.with_suffix(".json")
    with refused_as(CheckpointError):
        about = decode(dict[str, Any], read_json(described), described)
    stated = about.get("family", family)
    if family and stated != family:
        raise CheckpointError(
            f"{described} is a checkpoint of family {shown(stated)}, not of {family!r}; "
            "load it with load_predictor."
        )
    # Older files of some families have their version under the name of the family.
    older = (key for key in about if key.startswith("omnimouse_"))
    key = "format" if "format" in about else next(older, "format")
    if (form := about.get(key)) != FORMAT:
        raise CheckpointError(
            f"{described}: {key} is {shown(form)}, not {FORMAT}: it is no checkpoint of "
            f"{family or 'this project'}, or a newer version wrote it. Update omnimouse-app."
        )
    return about


UNSTORED: Final = {"is_stored": False}
"""Metadata of a field of a checkpoint that is not in its JSON file."""
Own = TypeVar("Own", bound="Checkpoint")


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A model that was read from disk, but not built: its tensors, and its JSON by fields.

    A family adds the fields that its JSON file has beside these, and says which tensors
    are those of a session: of names that begin with one of `prefixes` and its key.

    Attributes
    ----------
    family
        Name of the family.
    tables
        Names of tensors with a row for each session.
    config
        Sizes of the network.
    sessions
        Session -> number of neurons.
    assumed
        Settings that the files do not contain.
    card
        Information for people: training, scores.
    state
        Name -> tensor.
    source
        Path or name, for messages.
    """

    family: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]
    tables: ClassVar[tuple[str, ...]] = ()
    config: Any
    sessions: Counts
    assumed: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict, metadata=UNSTORED)
    source: str = field(default="", metadata=UNSTORED)

    # -- files ------------------------------------------------------------------------
    @classmethod
    def read(cls: type[Own], path: Path) -> Own:
        """Read the weights in a file, or in the folder of a run.

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form; the message names the field.
        """
        path = checkpoint_file(path)
        envelope = read_checkpoint(path, cls.family)
        return cls.of(envelope.about, envelope.tensors, path)

    @classmethod
    def of(
        cls: type[Own], about: Mapping[str, Any], state: Mapping[str, Tensor], path: Path
    ) -> Own:
        """Return tensors with what the JSON file beside them says; see `read`."""
        names = {one.name for one in fields(cls) if one.metadata.get("is_stored", True)}
        stated = {k: v for k, v in about.items() if k in names and v is not None}
        with refused_as(CheckpointError):
            found = decode(cls, stated, path.with_suffix(".json"))
        # Sizes that are each within limits can be those of no window: `spec` then raises.
        if hasattr(type(found.config), "spec"):
            try:
                _ = found.config.spec
            except ValueError as error:
                raise CheckpointError(f"{path.with_suffix('.json')}: config: {error}") from error
        found = replace(found, state=state, source=str(path))
        found.check()
        return found

    def check(self) -> None:
        """Raise `CheckpointError` if the tensors are not those that the JSON file states."""

    def save(self, path: Path) -> Path:
        """Write weights and the JSON file beside them; no other process may write them."""
        about = asdict(replace(self, state={}))
        for one in fields(self):
            if not one.metadata.get("is_stored", True):
                del about[one.name]
        return save_checkpoint(path, self.state, self.family, about)

    # -- parts ------------------------------------------------------------------------
    def own(self, session: str) -> dict[str, Tensor]:
        """Return the tensors of one session."""
        names = tuple(f"{prefix}{session}." for prefix in self.prefixes)
        return {k: v for k, v in self.state.items() if k.startswith(names)}

    @property
    def shared(self) -> dict[str, Tensor]:
        """Tensors that are of no session alone."""
        return {k: v for k, v in self.state.items() if not k.startswith(self.prefixes)}

    @property
    def core(self) -> dict[str, Tensor]:
        """Tensors that no further session changes."""
        return {k: v for k, v in self.shared.items() if k not in self.tables}

    def trained(self, session: str, frozen: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the tensors that a fine-tuning to a session trains, beside frozen ones."""
        return [*(self.own(session) if frozen else self.state).values()]

    def renamed(self: Own, names: Mapping[str, str]) -> Own:
        """Return the model with other keys of the sessions that it has.

        Raises
        ------
        CheckpointError
            There is already one with the new key.
        """
        names = {old: new for old, new in names.items() if old in self.sessions}
        for old, new in names.items():
            # A session that exists already would lose its own weights.
            if new in self.sessions:
                raise CheckpointError(
                    f"Cannot rename session {old!r} to {new!r}: the checkpoint has "
                    f"{sorted(self.sessions)}."
                )
        state = self.shared
        for key in self.sessions:
            for name, value in self.own(key).items():
                state[name.replace(f".{key}.", f".{names.get(key, key)}.", 1)] = value
        sessions = {names.get(key, key): count for key, count in self.sessions.items()}
        return replace(self, state=state, sessions=sessions)

    def joined(self: Own, other: Own) -> Own:
        """Return the model with the sessions of another one of the same core, too."""
        state = dict(self.state)
        for key in other.sessions:
            state |= other.own(key)
        for name in self.tables:
            if name in state:
                state[name] = torch.cat([self.state[name], other.state[name]])
        return replace(other, state=state, sessions={**self.sessions, **other.sessions})

    def described(self, title: str, **facts: str | int | float) -> Description:
        """Return the description of the checkpoint for `omnimouse info`.

        Underscores in the names of facts stand for spaces. Fields of the config become facts
        that begin with "config.".
        """
        counts: Counter[str] = Counter()
        for tensor in self.state.values():
            counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
        stated: dict[str, str | int | float] = {
            "parameters": sum(counts.values()),
            # Of most numbers; counters and frequencies have their own.
            "precision": max(counts, key=counts.__getitem__, default="none"),
            **{name.replace("_", " "): value for name, value in facts.items()},
            **_flat(asdict(self.config), "config"),
        }
        return Description(title, dict(self.sessions), stated, self.assumed)


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, str | int | float]:
    """Return nested values by their path; lists as text."""
    flat: dict[str, str | int | float] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, name)
        elif isinstance(value, list | tuple):
            flat[name] = ", ".join(map(str, value))
        else:
            flat[name] = value if isinstance(value, str | int | float) else str(value)
    return flat


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Return eight hexadecimal digits that identify names and values of weights."""
    # Sorted, because the order of a state dict depends on how it was made.
    digest = blake2b(digest_size=4)
    for key in sorted(state):
        digest.update(key.encode())
        # As bytes: numpy has no bfloat16.
        values = state[key].contiguous().flatten().view(torch.uint8)
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
