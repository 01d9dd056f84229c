"""Sweeps: the axes of a job, their values, and the points they make together."""

from __future__ import annotations

import csv
import io
import itertools
import math
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotswap_airflow.slurm.request import PATH_TYPES
from hotswap_airflow.workflow.checks.files import leads_out
from hotswap_airflow.workflow.spec.references import Reference
from hotswap_airflow.workflow.spec.sweep_spec import AxisSpec
from hotswap_airflow.workflow.spec.vocabulary import keys_of_model, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext, Folder
    from hotswap_airflow.workflow.spec.sweep_spec import SweepSpec
    from hotswap_airflow.workflow.text.document import Path

MAX_POINTS = 1_000_000
_LONGEST = 1_000_000_000
_FARTHEST = 1e300
_DIGITS = 15
_PERCENT = re.compile(r"([0-9]{1,3})%")


class AxisFault(ValueError):
    """The values of an axis cannot be resolved. ``key`` is the wrong key of the axis; None means the whole axis."""

    def __init__(self, key: str | None, code: str, words: str, remedy: str) -> None:
        self.key, self.code, self.words, self.remedy = key, code, words, remedy
        super().__init__(words)


@dataclass(frozen=True)
class Progression:
    """``count`` numbers from ``start``, each ``step / divisor`` further. A number is computed on access."""

    start: float
    step: float
    count: int
    divisor: int = 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> float:
        if not 0 <= index < self.count:
            raise IndexError(index)
        value = self.start + index * self.step / self.divisor if self.divisor != 1 else self.start + index * self.step
        return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")


def axis_values(axis: AxisSpec, folder: Folder) -> list[Any] | Progression | Reference:
    """The values of an axis, or a reference that is resolved when the job starts. Raises ``AxisFault``."""
    if axis.values is not None:
        return axis.values
    if axis.linspace is not None:
        return _linspace(axis.linspace)
    if axis.range is not None:
        return _range(axis.range)
    if axis.source is None:
        raise AxisFault(None, "missing-key", "the axis has no values", "write a list, `range:`, `linspace:` or `from:`")
    return axis.reference or _from_file(axis.source, axis.column, folder)


def _linspace(numbers: list[float]) -> Progression:
    if len(numbers) != 3 or not isinstance(numbers[2], int):  # noqa: PLR2004 - from, to, how many
        words = "`linspace` needs the first value, the last one, and how many there are"
        raise AxisFault("linspace", "wrong-type", words, "write for example `linspace: [0.1, 0.5, 5]`")
    first, last, count = numbers[0], numbers[1], int(numbers[2])
    if not 0 <= count <= _LONGEST or not _are_finite(first, last):
        words = (
            f"`linspace` has {count} values" if count < 0 else "`linspace` has too many values, or values without end"
        )
        raise AxisFault("linspace", "out-of-range", words, f"use 1 or more, {MAX_POINTS} are the most")
    if count <= 1:
        return Progression(first, 0, count)
    if isinstance(first, int) and isinstance(last, int) and (last - first) % (count - 1) == 0:
        return Progression(first, (last - first) // (count - 1), count)
    return Progression(float(first), float(last) - float(first), count, count - 1)


def _range(numbers: list[float]) -> Progression:
    if len(numbers) not in {2, 3}:
        words = "`range` needs the first value and the one to stop before, and may have a step"
        raise AxisFault("range", "wrong-type", words, "write for example `range: [1, 21]` or `range: [0, 1, 0.1]`")
    first, stop, step = numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 1  # noqa: PLR2004
    if step == 0:
        raise AxisFault("range", "out-of-range", "`range` has the step 0", "use another step")
    if not _are_finite(first, stop, step) or abs(stop - first) > _LONGEST * abs(step):
        raise AxisFault("range", "out-of-range", "`range` has too many values", f"{MAX_POINTS} are the most")
    # A value that is before the end only because of rounding does not count.
    return Progression(first, step, max(0, math.ceil(round((stop - first) / step, 9))))


def _are_finite(*numbers: float) -> bool:
    """Whether all numbers are finite, also for integers too large for a float. Comparisons with NaN are never true."""
    return all(abs(number) <= _FARTHEST for number in numbers)


def _from_file(path: str, column: str | None, folder: Folder) -> list[str]:
    if leads_out(path):
        words = f"`{path}` must lie in the folder of the workflow"
        raise AxisFault("from", "sweep-source", words, "move it into the folder, beside the workflow")
    path = posixpath.normpath(path)
    if folder.entry(path) is None:
        words = f"there is no file `{path}`"
        raise AxisFault("from", "sweep-source", words, "put it beside the workflow file, or correct the path")
    try:
        text = folder.read(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AxisFault("from", "sweep-source", f"`{path}` is not UTF-8", "save it as UTF-8") from None
    if column is None:
        return [line for line in re.split(r"\r\n|\n", text) if line]
    return _column(path, column, text)


def _column(path: str, column: str, text: str) -> list[str]:
    rows = list(_rows(path, text))
    header = rows[0][1] if rows else []
    if header.count(column) > 1:
        words = f"column `{column}` stands twice in `{path}`"
        raise AxisFault("column", "sweep-source", words, "give each column its own name")
    if not header:
        raise AxisFault("column", "sweep-source", f"`{path}` is empty", "give it a header line and rows")
    if column not in header:
        near = nearest(column, header)
        remedy = f"did you mean `{near}`?" if near else f"it has: {', '.join(header)}"
        if len(header) == 1 and re.search("[;\t]", header[0]):
            remedy = "separate its columns by commas"
        raise AxisFault("column", "sweep-source", f"there is no column `{column}` in `{path}`", remedy)
    for line, row in rows[1:]:
        if len(row) != len(header):
            words = f"`{path}:{line}`: the row has {len(row)} cell(s), but the header has {len(header)}"
            raise AxisFault("from", "sweep-source", words, "correct the row; quote a cell that holds a comma")
    at = header.index(column)
    return [row[at] for _, row in rows[1:]]


def _rows(path: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty, each with the line in which it begins. Raises ``AxisFault``."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            is_open = "unexpected end of data" in str(error)
            words = "a quote is never closed" if is_open else f"this cannot be read as CSV: {error}"
            remedy = "close the quote" if is_open else "correct the row"
            raise AxisFault("from", "sweep-source", f"`{path}:{line}`: {words}", remedy) from None
        if row:
            yield line, row


def count_points(lengths: Sequence[int], mode: str) -> int:
    """The number of points that axes of these lengths make."""
    return min(lengths, default=0) if mode == "zip" else math.prod(lengths)


def points(axes: Sequence[Sequence[Any]], mode: str) -> Iterator[tuple[Any, ...]]:
    """The points of axes. In a product, the last axis changes fastest.

    >>> list(points([["a", "b"], [1, 2]], "product"))
    [('a', 1), ('a', 2), ('b', 1), ('b', 2)]
    """
    return zip(*axes, strict=True) if mode == "zip" else itertools.product(*axes)


def tolerated(tolerate: int | str, count: int) -> int:
    """How many of ``count`` elements may fail; a share is rounded down.

    >>> tolerated("10%", 19), tolerated(2, 19)
    (1, 2)
    """
    return tolerate if isinstance(tolerate, int) else count * int(tolerate.rstrip("%")) // 100


def check_sweeps(context: CheckContext) -> Iterator[Problem]:
    """Find problems in the axes of every sweep, in their lengths, and in the outputs of its job."""
    for job, body in context.spec.jobs.items():
        if body.sweep is not None:
            yield from _sweep(context, job, body.sweep)
            yield from _outputs(context, job)


def _sweep(context: CheckContext, job: str, sweep: SweepSpec) -> Iterator[Problem]:
    here: Path = ("jobs", job, "sweep")
    if not sweep.over and context.raw(*here, "over") in (None, {}):
        yield _no_axis(context, job, here)
    lengths: dict[str, int] = {}
    for name, axis in sweep.over.items():
        if found := _two_kinds(context, (*here, "over", name)):
            yield found
        else:
            yield from _axis(context, job, name, axis, lengths)
    if lengths and len(lengths) == len(sweep.over) and all(lengths.values()):
        yield from _lengths(context, job, sweep, lengths)
    elif any(length > MAX_POINTS for length in lengths.values()):
        yield _too_many(context, job, max(lengths.values()))


def _no_axis(context: CheckContext, job: str, sweep: Path) -> Problem:
    is_empty = "over" in context.keys_of(*sweep)
    words = f"`over` of jobs.{job} is empty" if is_empty else f"the sweep of jobs.{job} lacks `over`"
    remedy = "add `over:` with an axis, for example `over: {seed: [1, 2, 3]}`"
    return context.at_key((*sweep, "over"), "missing-key", words, remedy)


def _axis(context: CheckContext, job: str, name: str, axis: AxisSpec, lengths: dict[str, int]) -> Iterator[Problem]:
    """Find problems in the values of one axis. Its length is noted if it is known now."""
    here: Path = ("jobs", job, "sweep", "over", name)
    try:
        values = axis_values(axis, context.folder)
    except AxisFault as fault:
        yield from _fault(context, here, fault)
        return
    if isinstance(values, Reference):
        return
    lengths[name] = len(values)
    yield from _nulls(context, here, axis)
    if not values:
        kind = next(iter(context.keys_of(*here)), "list")
        words = f"axis `{name}` of jobs.{job} has no values"
        yield context.at_value(here, "sweep-empty", words, f"correct its `{kind}`")


def _two_kinds(context: CheckContext, axis: Path) -> Problem | None:
    """The problem of an axis with values of two kinds, or with a column of no table."""
    keys = [key for key in context.keys_of(*axis) if context.raw(*axis, key) is not None]
    kinds = [key for key in keys if key in {"list", "linspace", "range", "from"}]
    second = next((key for key in keys if key == "column" and "from" not in kinds), "") if kinds else ""
    second = kinds[1] if len(kinds) > 1 else second
    if not second:
        return None
    words = f"`{kinds[0]}` and `{second}` exclude each other in axis `{axis[-1]}`"
    return context.at_key((*axis, second), "conflict", words, "keep one of them")


def _nulls(context: CheckContext, path: Path, axis: AxisSpec) -> Iterator[Problem]:
    """Find nulls in a list of values: the author meant a text, or made a mistake."""
    here = context.spelled_out(path, "list")
    for index, value in enumerate(axis.values or ()):
        if value is None:
            words = "null is no value of an axis"
            yield context.at_value((*here, index), "wrong-type", words, 'quote it: "null", or remove it')


def _too_many(context: CheckContext, job: str, count: int) -> Problem:
    words = f"the sweep of jobs.{job} has {count} points"
    remedy = f"{MAX_POINTS} are the most; split it into several jobs"
    return context.at_key(("jobs", job, "sweep"), "sweep-too-large", words, remedy)


def _fault(context: CheckContext, axis: Path, fault: AxisFault) -> Iterator[Problem]:
    if fault.key is not None:
        yield context.at_value((*axis, fault.key), fault.code, fault.words, fault.remedy)
    elif set(context.keys_of(*axis)) <= set(keys_of_model(AxisSpec)):  # else its unknown key is already reported
        yield context.at_value(axis, fault.code, fault.words, fault.remedy)


def _lengths(context: CheckContext, job: str, sweep: SweepSpec, lengths: dict[str, int]) -> Iterator[Problem]:
    here: Path = ("jobs", job, "sweep")
    first, *others = lengths
    if sweep.mode == "zip":
        for other in others:
            if lengths[other] != lengths[first]:
                words = f"axis `{first}` has {lengths[first]} values and `{other}` has {lengths[other]}"
                remedy = "give them equally many, or use `mode: product`"
                yield context.at_value((*here, "over", other), "sweep-zip-length", words, remedy)
                return
    count = count_points(list(lengths.values()), sweep.mode)
    if count > MAX_POINTS:
        yield _too_many(context, job, count)
    elif context.site is not None:
        yield from _indices(context, job, math.ceil(count / sweep.chunk), count)


def _indices(context: CheckContext, job: str, indices: int, count: int) -> Iterator[Problem]:
    """Find an array with too many indices for the cluster of an environment. Only the first cluster is reported."""
    most_points = context.site.policy.max_sweep if context.site is not None else None
    if most_points is not None and count > most_points:
        words = f"the sweep of jobs.{job} has {count} points, but the site's policy allows {most_points}"
        yield context.at_key(("jobs", job, "sweep"), "sweep-too-large", words, "split it, or ask the site's admin")
        return
    for cluster in context.clusters_of(job):
        if indices > cluster.max_array_size:
            most = cluster.max_array_size
            words = f"the sweep of jobs.{job} has {indices} array indices, but cluster {cluster.name} takes {most}"
            remedy = f"use `chunk: {math.ceil(count / most)}`, which runs some elements in turn in each index"
            yield context.at_key(("jobs", job, "sweep"), "sweep-too-large", words, remedy)
            return


def _outputs(context: CheckContext, job: str) -> Iterator[Problem]:
    for name, output in context.spec.jobs[job].outputs.items():
        if output.type in PATH_TYPES and output.type != "dir" and output.path is not None:
            words = f"each element of jobs.{job} would overwrite `{output.path}`"
            remedy = "declare `type: dir` and let each element write its own file below it"
            keys = context.keys_of("jobs", job, "outputs", name)
            shown = [key for key in ("type", "path") if key in keys][:1]
            yield context.at_value(("jobs", job, "outputs", name, *shown), "sweep-output", words, remedy)
