"""Squared errors of many masks on the same targets and windows, in blocks of time.

The value of what a mask shows is v = 1 - (squared error with it) / (squared error of the
mean of the train tier), on held-out windows; of nothing it is 0. Values of several masks
are paired: they have the same targets, cells and windows. Their sums are kept per block
of time, so that any weighted sum of values has an interval, by leaving out each block.

The file is long because a run, its file and its sums are one topic: what is written is what
is summed.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import HasSummary, count, data_frame, interval_text
from omnimouse_model.errors import (
    MaskError,
    ResultsFileError,
    StoppedError,
    UnsupportedRequestError,
)
from omnimouse_model.evaluation.results_store import ResultsFile, RowFormat, row_key
from omnimouse_model.evaluation.shard import BATCH
from omnimouse_model.evaluation.tier_windows import mean_rates
from omnimouse_model.inference.dask_map import TaskPredictor, map_pieces
from omnimouse_model.masks.cells import guard_of, official_guard, recording_rate
from omnimouse_model.masks.selection import NeuronGroup, Neurons, neurons_of
from omnimouse_model.metrics.time_blocks import (
    MIN_BLOCKS,
    Estimate,
    in_turns,
    jackknife,
    jackknife_errors,
    student_quantile,
    time_blocks,
)
from omnimouse_model.predict.predictor import Needs, Predictor, Subset, predicted_subsets
from omnimouse_model.progress import CallbackJob, Job
from omnimouse_model.storage.tables import columns_of, write_table

if TYPE_CHECKING:
    import pandas

Targets = Neurons | int | np.integer[Any]
"""Some neurons, or the index of a single one."""
GROUP_SHARE = 10
"""A group of targets that are hidden together has at most this part of each area."""
_ARRAYS = ("neurons", "count", "baseline", "squared", "products", "target")


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Values of some neurons with their 95 % intervals over time, float64 (n,) each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Sums over the scored cells of some targets, for each question.

    Attributes
    ----------
    neurons
        int64 (n,): the targets.
    count, baseline
        (block, n): cells, and squared error of the train mean.
    squared
        (question, block, n): squared error.
    products
        (question, 3, block, n): sums of the prediction, its square, and its product
        with the response, for correlations; of all blocks together where these have no
        interval.
    target
        (2, block, n): sums of the response and of its square, as `products`.
    """

    neurons: np.ndarray
    count: np.ndarray
    baseline: np.ndarray
    squared: np.ndarray
    products: np.ndarray
    target: np.ndarray

    @classmethod
    def none(
        cls, neurons: np.ndarray, n_questions: int, n_blocks: int, *, by_block: bool = False
    ) -> "Errors":
        """Return sums of nothing; `by_block` is that of products."""
        n, n_products = len(neurons), n_blocks if by_block else 1
        return cls(
            np.asarray(neurons, np.int64),
            np.zeros((n_blocks, n)),
            np.zeros((n_blocks, n)),
            np.zeros((n_questions, n_blocks, n)),
            np.zeros((n_questions, 3, n_products, n)),
            np.zeros((2, n_products, n)),
        )

    @classmethod
    def joined(cls, parts: Sequence["Errors"]) -> "Errors":
        """Return the sums of several groups of targets, in the order of the neurons."""
        order = np.argsort(np.concatenate([part.neurons for part in parts]), kind="stable")
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts], axis=-1)[..., order]
                for name in _ARRAYS
            )
        )

    def add(self, block: int, response: np.ndarray, mean: np.ndarray, found: np.ndarray) -> None:
        """Add the cells of one window in place.

        Parameters
        ----------
        response, mean
            (T, n) recorded; (n,) of the train tier.
        found
            (question, T, n): predictions, NaN where nothing is scored.
        """
        # A cell that one question cannot predict counts for none: values are paired.
        used = np.isfinite(response) & np.isfinite(found).all(axis=0)
        recorded = np.where(used, response, 0).astype(np.float64)
        predicted = np.where(used, found, 0).astype(np.float64)
        self.count[block] += used.sum(axis=0)
        self.baseline[block] += np.where(used, (recorded - mean) ** 2, 0).sum(axis=0)
        self.squared[:, block] += ((predicted - recorded) ** 2).sum(axis=1)
        place = min(block, self.products.shape[2] - 1)
        self.products[:, 0, place] += predicted.sum(axis=1)
        self.products[:, 1, place] += (predicted**2).sum(axis=1)
        self.products[:, 2, place] += (predicted * recorded).sum(axis=1)
        self.target[0, place] += recorded.sum(axis=0)
        self.target[1, place] += (recorded**2).sum(axis=0)

    # -- values -----------------------------------------------------------------------
    @property
    def is_one_event(self) -> np.ndarray:
        """Whether most of the variance of each target is in one block of time, bool (n,).

        Its interval may then be far too narrow or too wide: a value without that block is
        that of other events.
        """
        return np.asarray(2 * self.baseline.max(axis=0) > self.baseline.sum(axis=0))

    def parts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a weighted sum of values (n,), and the same without each block (block, n).

        `weights` (question,) multiply the values of the questions. NaN without cells.
        """
        is_used = self.count.any(axis=1)
        baseline = self.baseline[is_used]
        error = np.tensordot(weights, self.squared[:, is_used], (0, 0))  # (block, n)
        total = baseline.sum(axis=0), error.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = weights.sum() - total[1] / total[0]
            rest = weights.sum() - (total[1] - error) / (total[0] - baseline)
        return value, rest

    def values(self, weights: np.ndarray) -> Values:
        """Return a weighted sum of values with its interval, for each target."""
        value, rest = self.parts(weights)
        if len(rest) < MIN_BLOCKS:
            nothing = np.full(len(value), np.nan)
            return Values(value, nothing, nothing)
        half = student_quantile(len(rest) - 1) * jackknife_errors(rest, rest[:0])
        return Values(value, value - half, np.minimum(value + half, _largest(weights)))

    def mean(self, weights: np.ndarray, columns: np.ndarray | slice = slice(None)) -> Estimate:
        """Return the mean over some targets with its interval; NaN without any."""
        value, rest = self.parts(weights)
        is_known = np.isfinite(value[columns])
        if not is_known.any():
            return jackknife(float("nan"), [])
        each = rest[:, columns][:, is_known]
        return jackknife(
            float(value[columns][is_known].mean()),
            each.mean(axis=1),
            limits=(-np.inf, _largest(weights)),
            is_extended=False,
        )

    def pooled(self, question: int) -> np.ndarray:
        """Return the pooled correlation of prediction and response, (n,)."""
        products, target = self.products[question].sum(axis=1), self.target.sum(axis=1)
        return _correlation(products, target, self.count.sum(axis=0))

    def mean_gain(self, question: int, base: int | None, columns: np.ndarray) -> Estimate:
        """Return the gain of squared correlations of one question over another, or over nothing.

        It is the mean over some targets, of those with cells. A prediction that is
        rescaled has the same: where a base is shrunk towards the mean, to undo this is no
        gain. Needs products by block.
        """
        columns = columns[self.count[:, columns].any(axis=0)]
        if not len(columns):
            return jackknife(float("nan"), [])
        gains, least = self._squares(question, columns), 0.0
        if base is not None:
            gains, least = gains - self._squares(base, columns), -1.0
        value, *left_out = gains.mean(axis=1).tolist()
        return jackknife(value, left_out, limits=(least, 1.0), is_extended=False)

    def _squares(self, question: int, columns: np.ndarray) -> np.ndarray:
        """Return squared correlations of some targets, and without each block (1 + block, n)."""
        is_used = self.count.any(axis=1)
        count, target = self.count[is_used], self.target[:, is_used]
        products = self.products[question][:, is_used]
        total = _correlation(products.sum(axis=1), target.sum(axis=1), count.sum(axis=0))
        rest = [
            _correlation(
                products.sum(axis=1) - products[:, k],
                target.sum(axis=1) - target[:, k],
                count.sum(axis=0) - count[k],
            )
            for k in range(len(count))
        ]
        return np.asarray(np.nan_to_num(np.array([total, *rest])[:, columns]) ** 2)

    # -- JSON -------------------------------------------------------------------------
    def plain(self) -> dict[str, Any]:
        """Return the sums as JSON, with all their bits."""
        return {
            name: {
                "shape": list((array := getattr(self, name)).shape),
                "float64": b64encode(np.asarray(array, "<f8").tobytes()).decode("ascii"),
            }
            for name in _ARRAYS
        }

    @classmethod
    def parsed(cls, facts: Mapping[str, Any]) -> "Errors":
        """Return sums from `plain`.

        Raises
        ------
        ValueError, KeyError, TypeError
            They are not those of one set of questions and targets.
        """
        arrays = {}
        for name in _ARRAYS:
            shape = tuple(int(size) for size in facts[name]["shape"])
            content = b64decode(facts[name]["float64"], validate=True)
            arrays[name] = np.frombuffer(content, "<f8").reshape(shape).copy()
        errors = cls(arrays.pop("neurons").astype(np.int64), **arrays)
        n_questions, n_blocks, n = errors.squared.shape
        n_products = errors.products.shape[2]
        expected = (
            *((n,), (n_blocks, n), (n_blocks, n)),
            *((n_questions, 3, n_products, n), (2, n_products, n)),
        )
        found = (errors.neurons, errors.count, errors.baseline, errors.products, errors.target)
        is_whole = n_products in (1, n_blocks)
        if not is_whole or tuple(array.shape for array in found) != expected:
            raise ValueError("Sums of several shapes.")
        return errors


def _largest(weights: np.ndarray) -> float:
    """Return the largest possible weighted sum of values, each of which is at most 1."""
    # A value has no lower limit, and so a difference has no upper one.
    return float(weights.sum()) if (weights >= 0).all() else np.inf


def _correlation(products: np.ndarray, target: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return correlations (n,) from sums (3, n) of predictions and (2, n) of responses."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one, square, product = products / count
        response, response_square = target / count
        spread = np.sqrt((square - one**2) * (response_square - response**2))
        return np.asarray((product - one * response) / spread)


def check_rows(rows: Sequence[Errors], n_questions: int, neurons: Collection[int]) -> None:
    """Raise `ValueError` if rows of a file are not those of its questions and targets."""
    for errors in rows:
        if len(errors.squared) != n_questions or not {*errors.neurons.tolist()} <= {*neurons}:
            raise ValueError("The file has sums of other questions or targets than it names.")


FoundType = TypeVar("FoundType", bound="Found")
_SHARED: Final[Mapping[str, type]] = {
    "predictor": str,
    "session": str,
    "tier": str,
    "n_windows": int,
}


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Found(HasSummary):
    """Base of the results of the analyses: their table, and their file.

    Attributes
    ----------
    predictor, session, tier, n_windows
        Who predicts, and in which held-out windows.
    fits
        Version of the fits of the predictor, see `Needs`.
    errors
        Sums of the finished targets, for each question.
    """

    KIND: ClassVar[RowFormat[Errors]]
    """Their files."""
    FIRST: ClassVar = "neuron"
    """Name of the first column, for a table that has no rows yet."""

    predictor: str
    session: str
    tier: str
    n_windows: int
    errors: Errors
    fits: int = 0

    def table(self) -> list[dict[str, object]]:
        """Return one row per result, as JSON values."""
        raise NotImplementedError

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return `table()` as a pandas table."""
        return data_frame(self.table())

    def write_csv(self, path: str | Path) -> Path:
        """Write `table()` as CSV, or as Parquet if the name ends so."""
        return write_table(path, columns_of(self.table(), [self.FIRST]))

    def save(self, path: str | Path) -> Path:
        """Write the result to a file that `open` reads.

        Raises
        ------
        ResultsFileError
            The file holds another result.
        """
        file = ResultsFile(self.KIND, Path(path), self.definition())
        file.add("all", self.errors)
        if file.rows["all"].plain() != self.errors.plain():
            raise ResultsFileError(f"{path} holds another result. Choose another path.")
        return Path(path)

    @classmethod
    def open(cls: "type[FoundType]", path: str | Path) -> "FoundType":
        """Read a result, also one that is not complete.

        Raises
        ------
        OSError, ValueError, KeyError, TypeError, AttributeError
            The file cannot be read, or is that of another analysis.
        """
        header, rows = cls.KIND.read(Path(path))
        facts = header["definition"]
        shared = {name: plain(facts[name]) for name, plain in _SHARED.items()}
        shared["fits"] = int(facts.get("fits", 0))
        return cls._read(facts, rows, shared)

    def definition(self) -> dict[str, Any]:
        """Return what was asked, and of whom, as JSON values: the header of a file."""
        fits = {"fits": self.fits} if self.fits else {}
        return {name: getattr(self, name) for name in _SHARED} | fits | self._asked()

    def _asked(self) -> dict[str, Any]:
        """Return what was asked, and of which neurons, as JSON values."""
        raise NotImplementedError

    @classmethod
    def _read(cls, facts: Mapping[str, Any], rows: Sequence[Errors], shared: dict[str, Any]) -> Any:
        """Return the result of a file with these values of `_asked`, rows and base fields."""
        raise NotImplementedError


def estimate_text(estimate: Estimate) -> str:
    """Return a value with its interval."""
    return interval_text(estimate.value, estimate.low, estimate.high)


# -- what is asked --------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Mask of a question for some of the targets; without one, nothing is visible."""

    question: int
    neurons: np.ndarray
    subset: Subset | None


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of a window: the visible past of the targets, and those that are scored.

    Between them lies the guard, in which interpolation would show the past.
    """

    own: tuple[int, int]
    scored: tuple[int, int]

    @classmethod
    def of(cls, session: Session, spec: WindowSpec) -> "Samples":
        """Return the samples of a recording: as in a context sweep."""
        half = spec.n_samples // 2
        end = half - official_guard(spec).after
        guard = guard_of(spec, recording_rate(session))
        return cls((0, end), (max(half, end + guard.after), spec.n_samples))


def areas_of(session: Session) -> np.ndarray:
    """Return the area of each neuron, "" where unknown."""
    area = session.units.area
    return np.full(session.n_neurons, "") if area is None else area.astype(np.str_)


def chosen_neurons(session: Session, neurons: Targets | None) -> np.ndarray:
    """Return the indices of an area, a group, given neurons, or one; of all without.

    Raises
    ------
    MaskError
        There are none, or one does not exist.
    """
    if neurons is None:
        return np.arange(session.n_neurons)
    if not isinstance(neurons, str | NeuronGroup):
        neurons = NeuronGroup.of(session, "targets", np.atleast_1d(neurons))
    found = neurons_of(session, neurons)
    if not len(found):
        raise MaskError(f"Session {session.id!r}: there are no targets.")
    return found


def target_groups(areas: np.ndarray, targets: np.ndarray, seed: int) -> list[np.ndarray]:
    """Divide targets into groups that are hidden together, int64 each, ascending.

    A group has at most a tenth of each area, and at least one neuron.

    Parameters
    ----------
    areas
        Area of each neuron of the recording.
    """
    draw = np.random.default_rng(seed)
    groups: dict[int, list[np.ndarray]] = {}
    # The same random numbers for each choice of targets.
    order = draw.permutation(len(areas))
    for area in np.unique(areas[targets]):
        in_area = areas == area
        members = order[in_area[order] & np.isin(order, targets)]
        most = max(int(in_area.sum()) // GROUP_SHARE, 1)
        # As many groups as the largest needs, each with as equal a number as possible.
        for number, part in enumerate(np.array_split(members, -(-len(members) // most))):
            groups.setdefault(number, []).append(part)
    return [np.sort(np.concatenate(groups[number])) for number in sorted(groups)]


# -- measurement ----------------------------------------------------------------------
Ask = Callable[[Session, np.ndarray, WindowSpec], list[Asked]]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Targets that are hidden together: a piece of work for one process.

    Attributes
    ----------
    starts
        Starts (n,) in s of the held-out windows.
    ask
        Return the masks of the questions for a session, some targets and a spec; sent
        to workers, so of an importable function.
    by_block
        Whether correlations have intervals, too.
    """

    model: TaskPredictor
    session: Session
    targets: np.ndarray
    starts: np.ndarray
    n_questions: int
    ask: Ask
    by_block: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """How pieces are computed, and where finished ones are stored.

    Attributes
    ----------
    results
        File to which finished pieces are added, or from which they are read; None for
        no file.
    definition, about
        Facts that a file must agree with, and notes for a new one.
    scheduler
        See `dask_map.map_pieces`.
    """

    kind: RowFormat[Errors]
    definition: Mapping[str, Any]
    results: str | Path | None = None
    about: Mapping[str, Any] | None = None
    scheduler: str | None = None

    def collected(
        self, pieces: Sequence[Piece], job: Job, on_part: Callable[[Sequence[Errors], int], None]
    ) -> list[Errors]:
        """Return the errors of the pieces in their order; some of them if cancelled.

        `on_part` gets what is known and its number of windows, after each piece, and
        after each batch of windows while no piece is finished.
        """
        keys = [row_key(targets=piece.targets.tolist()) for piece in pieces]
        finished: dict[str, Errors] = {}
        file = None
        if self.results is not None:
            file = ResultsFile(self.kind, Path(self.results), self.definition, self.about or {})
            finished = {key: errors for key, errors in file.rows.items() if key in keys}
        missing = [k for k, key in enumerate(keys) if key not in finished]
        before = len(pieces) - len(missing)

        def on_batch(errors: Errors, n_windows: int) -> None:
            if not finished:
                on_part([errors], n_windows)

        counted = CallbackJob(
            lambda done, _, text: job.progress(before + done, len(pieces), text),
            job.cancelled,
            job.message,
            job.device,
        )
        # Workers get no function of the caller.
        run = measure if self.scheduler else partial(measure, on_batch=on_batch)
        todo = [pieces[k] for k in missing]
        for number, errors in map_pieces(run, todo, self.scheduler, counted):
            key = keys[missing[number]]
            finished[key] = errors
            if file is not None:
                file.add(key, errors)
            on_part([finished[key] for key in keys if key in finished], len(todo[number].starts))
        return [finished[key] for key in keys if key in finished]


def measure(
    piece: Piece, job: Job, on_batch: Callable[[Errors, int], None] = lambda errors, n: None
) -> Errors:
    """Return the errors of a piece; `on_batch` gets those of the first windows.

    Raises
    ------
    StoppedError
        The job was cancelled.
    """
    with piece.model.loaded(piece.session) as (predictor, session):
        spec = predictor.needs.spec
        asked = piece.ask(session, piece.targets, spec)
        mean = mean_rates(session, spec)[piece.targets]
        blocks = time_blocks(piece.starts, spec.duration_s)
        n_blocks = int(blocks.max()) + 1
        errors = Errors.none(piece.targets, piece.n_questions, n_blocks, by_block=piece.by_block)
        # Blocks of time in turn: the first windows are a sample of the tier.
        random = np.random.default_rng(0).permutation(len(piece.starts))
        order = in_turns(random, blocks)
        for first in range(0, len(order), BATCH):
            if job.cancelled():
                raise StoppedError
            places = np.sort(order[first : first + BATCH])
            windows = [session.window(float(piece.starts[place]), spec) for place in places]
            _add(errors, predictor, windows, blocks[places], asked, mean, job)
            done = first + len(places)
            on_batch(errors, done)
            job.progress(done, len(order), f"{session.id}: {count(len(piece.targets), 'target')}")
    return errors


def _add(
    errors: Errors,
    predictor: Predictor,
    windows: list[Window],
    blocks: np.ndarray,
    asked: list[Asked],
    mean: np.ndarray,
    job: Job,
) -> None:
    subsets = [one.subset for one in asked if one.subset is not None]
    predictions = predicted_subsets(predictor, windows, subsets, job.cancelled)
    for window, block, found in zip(windows, blocks.tolist(), predictions, strict=True):
        shape = len(errors.squared), predictor.needs.spec.n_samples, len(mean)
        predicted = np.full(shape, np.nan, np.float32)
        parts = iter(found)
        for one in asked:
            columns = np.searchsorted(errors.neurons, one.neurons)
            if one.subset is None:
                # Nothing is visible: the value is that of the train mean, 0.
                predicted[one.question][:, columns] = mean[columns]
            else:
                predicted[one.question][:, columns] = next(parts)
        errors.add(block, window.responses[:, errors.neurons], mean, predicted)


def refusal(needs: Needs, name: str, *, of_neurons: bool) -> str:
    """Return why a model cannot be asked, else ""; `of_neurons`: what neurons tell alone."""
    if needs.is_stored:
        return f"{name}: predictions of a file do not depend on what is visible."
    if not needs.predicts_responses:
        return f"{name} does not predict responses."
    return f"{name} does not see responses." if of_neurons and not needs.sees_responses else ""


def check_answers(predictor: Predictor, *, of_neurons: bool = False) -> None:
    """Raise `UnsupportedRequestError` for a predictor that cannot be asked; see `refusal`."""
    reason = refusal(predictor.needs, predictor.predictor_id, of_neurons=of_neurons)
    if reason:
        raise UnsupportedRequestError(reason)
