"""Every key of a kind of file, derived from its models: where a key belongs, and which key was probably meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from hotswap_airflow.slurm.options import OPTIONS
from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hotswap_airflow.workflow.text.document import Path

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
WORKFLOW_HEADER = "workflow/v1"
SITE_HEADER = "site/v1"
WORKFLOW_SUFFIXES = (".hotswap.yaml", ".hotswap.json")
NOT_IN_AN_OVERLAY = frozenset({"hotswap", "name", "environments"})
RESERVED_VARIABLES = re.compile(r"(HOTSWAP|PARAM|SWEEP|INPUT|OUTPUT|SECRET|SLURM)_.*")
SECRET_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY", re.IGNORECASE)

Pattern = tuple[str, ...]
"""The path of a map in a file; ``NAME`` stands for the names that people choose, and list items take no step."""


def nearest(word: str, known: Iterable[object]) -> str | None:
    """The known word that is most like the given word; None if none is similar.

    >>> nearest("contianer", ["container", "env"])
    'container'
    """
    words = sorted(str(item) for item in known)
    folded = {other.lower().replace("_", "-"): other for other in words}
    near = get_close_matches(word.lower().replace("_", "-"), folded, 1, 0.6)
    return folded[near[0]] if near else None


def choice(word: str, known: Iterable[object], prefix: str = "") -> str:
    """The remedy for an unknown word: the known word that is most like it, or all known words."""
    words = [str(item) for item in known]
    if near := nearest(word, words):
        return f"did you mean `{prefix}{near}`?"
    return f"use one of: {', '.join(words)}" if words else "there is none to name: declare it first"


def keys_of_model(model: type[BaseModel]) -> list[str]:
    """The keys of a model's map, as they are written in a file."""
    return [field.alias or name for name, field in model.model_fields.items()]


_SYNONYMS = {
    **dict.fromkeys(("cpus", "cores", "ncpus", "cpu"), "cpus-per-task"),
    **dict.fromkeys(("memory", "ram"), "mem"),
    **dict.fromkeys(("walltime", "runtime", "timelimit"), "time"),
    **dict.fromkeys(("queue",), "partition"),
    **dict.fromkeys(("tasks", "np"), "ntasks"),
    **dict.fromkeys(("gpu", "ngpus"), "gpus"),
}
"""Words of other schedulers for options of sbatch."""


class Vocabulary:
    """The maps of one kind of file and their keys. ``first`` are the maps where a misplaced key most likely belongs.

    ``other`` names the other kind of file by its header, with keys at its top that this kind does not have.
    """

    def __init__(
        self,
        root: type[BaseModel],
        extra: Mapping[Pattern, Iterable[str]],
        first: Iterable[Pattern],
        other: tuple[str, Iterable[str]] = ("", ()),
    ) -> None:
        self.root = root
        self.models = dict(_maps(root))
        keys = {pattern: keys_of_model(model) for pattern, model in self.models.items()}
        keys |= {pattern: list(names) for pattern, names in extra.items()}
        self._keys = {pattern: keys[pattern] for pattern in first} | keys
        self.other, self._of_other = other[0], frozenset(other[1]) - set(self._keys[()])

    def pattern_of(self, path: Path) -> Pattern:
        """The pattern of the map at a path."""
        steps = [step for step in path if isinstance(step, str)]
        return max((p for p in self._keys if _matches(p, steps)), key=len)

    def example(self, path: Path, key: str) -> str:
        """A value that the key of a map may have; an empty text if the model gives none."""
        fields = {field.alias or name: field for name, field in self.models[self.pattern_of(path)].model_fields.items()}
        return str((fields[key].examples or [""])[0])

    def judge(self, path: Path, key: str) -> tuple[str, str, str]:
        """Code, words and remedy for a key that the map at a path does not have."""
        pattern = self.pattern_of(path)
        near = nearest(key, self._keys[pattern])
        if pattern[-1:] == ("slurm",) and key.lower() in _SYNONYMS:
            return "unknown-key", f"there is no key `{key}`", f"did you mean `{_SYNONYMS[key.lower()]}`?"
        if near and near.replace("_", "-") == key.lower().replace("_", "-"):
            return "unknown-key", f"there is no key `{key}`", f"did you mean `{near}`?"
        home = next(
            (p for p, keys in self._keys.items() if p != pattern and key in keys and "templates" not in p), None
        )
        place = self._place(pattern, key, home)
        if place:
            close = get_close_matches(key, self._keys[pattern], 1, 0.85)
            other = f", or did you mean `{close[0]}`?" if close else ""
            return "misplaced-key", f"`{key}` does not belong", f"put it {place}{other}"
        remedy = f"did you mean `{near}`?" if near else f"known here: {', '.join(sorted(self._keys[pattern]))}"
        return "unknown-key", f"there is no key `{key}`", remedy

    def _place(self, pattern: Pattern, key: str, home: Pattern | None) -> str:
        """Where a misplaced key belongs, perhaps in the other kind of file; empty if nowhere."""
        if home is None and pattern == () and key in self._of_other:
            return f"into a file that begins with `hotswap: {self.other}`"
        return _words(home) if home is not None else ""


def _maps(model: type[BaseModel], pattern: Pattern = ()) -> Iterator[tuple[Pattern, type[BaseModel]]]:
    yield pattern, model
    for name, field in model.model_fields.items():
        for steps, below in _models_in(field.annotation):
            yield from _maps(below, (*pattern, field.alias or name, *steps))


def _models_in(annotation: Any) -> Iterator[tuple[Pattern, type[BaseModel]]]:
    """The models in the type of a field, each with the steps that lead to it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (), annotation
    elif origin is dict:
        yield from ((("NAME", *steps), model) for steps, model in _models_in(inner[1]))
    elif origin is Annotated:
        yield from _models_in(inner[0])
    elif origin in {list, Union, UnionType}:
        for part in inner:
            yield from _models_in(part)


def _matches(pattern: Pattern, steps: list[str]) -> bool:
    return len(pattern) <= len(steps) and all(p in {s, "NAME"} for p, s in zip(pattern, steps, strict=False))


def _words(pattern: Pattern) -> str:
    if not pattern:
        return "at the top of the file"
    if pattern == _JOB:
        return "in a job, under `jobs.NAME:`"
    return f"under `{'.'.join(pattern[2:] if pattern[:2] == _JOB else pattern)}:`"


_JOB = ("jobs", "NAME")
WORKFLOW = Vocabulary(
    WorkflowSpec,
    extra={
        **{(*owner, "slurm"): OPTIONS for owner in (_JOB, ("defaults",), ("templates", "NAME"))},
        # The model's other field, `job`, is the key above the map.
        **{(*owner, "needs"): ["when"] for owner in (_JOB, ("templates", "NAME"))},
    },
    first=[
        *((*_JOB, "slurm"), _JOB, (), ("params", "NAME"), (*_JOB, "outputs", "NAME"), (*_JOB, "inputs", "NAME")),
        *(pattern for pattern, _ in _maps(WorkflowSpec) if pattern[:2] == _JOB),
    ],
    other=(SITE_HEADER, ("clusters", "projects", "policy")),
)
"""The keys of workflow files."""
