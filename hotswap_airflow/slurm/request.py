"""Everything that is needed to submit one try of one job, with all values filled in."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import posixpath
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hotswap_airflow.slurm import identity, options, parsing
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.history.past import Past
from hotswap_airflow.slurm.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

OutputType = Literal["file", "dir", "string", "integer", "number", "boolean", "json"]
PATH_TYPES = frozenset({"file", "dir"})
_PACKED = "zlib:"
_GREATEST = 1 << 63
_DEEPEST, _LONGEST_SHOWN = 100, 200
_RESERVED = {"__classname__", "__id__"}


@dataclass(frozen=True)
class Output:
    """An output that a job declares: a path below the run directory, or a value by name.

    ``publish`` is a folder on the cluster that gets a copy of the path after the job's success.
    """

    name: str
    type: OutputType
    path: str | None = None
    publish: str | None = None


@dataclass(frozen=True)
class Input:
    """A path that must exist before the script starts, relative to the run directory or absolute."""

    name: str
    path: str


@dataclass(frozen=True)
class Container:
    """An image for Apptainer, and the folders that it sees: each ``SRC``, ``SRC:DST`` or ``SRC:DST:ro``."""

    image: str
    binds: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecretSource:
    """Where the value of a secret is: the field of an Airflow connection, or an Airflow variable."""

    variable: str
    kind: Literal["connection", "variable"]
    id: str
    field: str = "password"


@dataclass(frozen=True)
class JobRequest:
    """One try of one job. Paths are relative to the run directory. Either ``text`` or ``script`` is set.

    ``options`` are sbatch's, each a name and a text. ``variables`` arrive in the environment unchanged; ``aliases`` are
    variables with the value of another one, which may differ between elements. An ``array`` runs the job once for each
    of its elements. ``saves``: exit status 85 means that the job wants to go on. ``shell`` is the command that gets
    ``text`` as a file; empty means bash. ``launch``: ``srun`` runs the script once for each task. ``past`` and
    ``secret_values`` are known when the job is submitted, and are never written with the request.
    """

    key: identity.JobKey
    text: str | None = None
    script: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    array: Array | None = None
    retry: Retry = field(default_factory=Retry)
    saves: bool = False
    aliases: tuple[tuple[str, str], ...] = ()
    shell: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    container: Container | None = None
    launch: Literal["script", "srun"] = "script"
    secrets: tuple[SecretSource, ...] = ()
    past: Past = field(default_factory=Past)
    secret_values: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def argv(self) -> tuple[str, ...]:
        """The sbatch command line; it is run in the key folder on the login node."""
        ours = (
            "--parsable",
            "--export=NONE",
            "--open-mode=append",
            "--output=job.log" if self.array is None else "--output=logs/%a",
            f"--job-name={self.key.job_name}",
            *(() if self.array is None else (f"--array={self.array.option}",)),
        )
        theirs = tuple(options.argument(name, text) for name, text in self._options_now)
        return ("sbatch", *ours, *theirs, "script")

    @property
    def has_values(self) -> bool:
        """Whether the job declares outputs that its script writes by name."""
        return any(output.type not in PATH_TYPES for output in self.outputs)

    @property
    def rows(self) -> str:
        """For a sweep, a short text that changes with its elements' values, or those of earlier jobs that all get."""
        if self.array is None:
            return ""
        given = [item for item in self.variables if item[0].startswith("INPUT_")]
        digest = self.array.digest
        return hashlib.sha256(json.dumps([digest, given]).encode()).hexdigest()[:12] if given else digest

    @property
    def _options_now(self) -> tuple[tuple[str, str], ...]:
        """The options; nodes that broke down under earlier tries are excluded."""
        if not self.past.nodes:
            return self.options
        given = dict(self.options)
        left_out = ",".join(filter(None, (given.get("exclude"), *self.past.nodes)))
        return tuple((given | {"exclude": left_out}).items())

    def to_json(self) -> str:
        """Write the request so that another process can submit it."""
        return json.dumps(
            {
                "key": self.key.to_json(),
                "text": self.text,
                "script": self.script,
                "options": self.options,
                "variables": self.variables,
                "inputs": [[i.name, i.path] for i in self.inputs],
                "outputs": [[o.name, o.type, o.path, o.publish] for o in self.outputs],
                "array": self.array.to_json() if self.array is not None else None,
                "retry": self.retry.to_json(),
                "saves": self.saves,
                "aliases": self.aliases,
                "shell": self.shell,
                "modules": self.modules,
                "container": [self.container.image, self.container.binds] if self.container is not None else None,
                "launch": self.launch,
                "secrets": [[s.variable, s.kind, s.id, s.field] for s in self.secrets],
            }
        )

    def to_text(self) -> str:
        """Write the request as JSON or packed, whichever text is shorter."""
        text = self.to_json()
        packed = _PACKED + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
        return min(text, packed, key=len)

    @classmethod
    def from_text(cls, text: str) -> JobRequest:
        """Read what ``to_text`` or ``to_json`` wrote."""
        if text.startswith(_PACKED):
            text = zlib.decompress(base64.b64decode(text.removeprefix(_PACKED))).decode()
        return cls.from_json(text)

    @classmethod
    def from_json(cls, text: str) -> JobRequest:
        """Read what ``to_json`` wrote."""
        data = json.loads(text)
        return cls(
            key=identity.JobKey.from_json(data["key"]),
            text=data["text"],
            script=data["script"],
            options=tuple((name, value) for name, value in data["options"]),
            variables=tuple((name, value) for name, value in data["variables"]),
            inputs=tuple(Input(*item) for item in data["inputs"]),
            outputs=tuple(Output(*item) for item in data["outputs"]),
            array=Array.from_json(data["array"]) if data["array"] else None,
            retry=Retry.from_json(data["retry"]),
            saves=data["saves"],
            aliases=tuple((name, other) for name, other in data["aliases"]),
            shell=tuple(data["shell"]),
            modules=tuple(data["modules"]),
            container=Container(data["container"][0], tuple(data["container"][1])) if data["container"] else None,
            launch=data["launch"],
            secrets=tuple(SecretSource(*item) for item in data["secrets"]),
        )


def variable(prefix: str, name: str) -> str:
    """The environment variable for a name: upper case, and ``-`` becomes ``_``.

    >>> variable("PARAM", "step-size")
    'PARAM_STEP_SIZE'
    """
    return f"{prefix}_{name.upper().replace('-', '_')}"


def as_text(value: object) -> str:
    """How a value arrives in a variable: a text unchanged, null as an empty text, all else as JSON.

    >>> as_text(True), as_text(None), as_text(0.3), as_text([1, "a"])
    ('true', '', '0.3', '[1, "a"]')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def read_outputs(declared: tuple[Output, ...], run_dir: str, written: str) -> tuple[dict[str, object], list[str]]:
    """Give the values of a job that succeeded, by output name, and what is wrong with them.

    ``written`` is what the script wrote to ``$HOTSWAP_OUTPUT``: lines ``key=value``. The last line of a key counts.
    """
    texts: dict[str, str] = {}
    for line in parsing.lines(written):
        name, equals, value = line.partition("=")
        if equals:
            texts[name.strip()] = value
    values: dict[str, object] = {}
    complaints: list[str] = []
    for output in declared:
        if output.type in PATH_TYPES:
            values[output.name] = posixpath.join(run_dir, output.path or "")
        elif output.name not in texts:
            complaints.append(f"output `{output.name}` was not written to $HOTSWAP_OUTPUT")
        else:
            try:
                values[output.name] = _typed(texts[output.name], output.type)
            except _NotCarried as reason:
                complaints.append(f"output `{output.name}` is not a value that Airflow can carry: {reason}")
            except ValueError:
                complaints.append(
                    f"output `{output.name}` is no {output.type}: {texts[output.name][:_LONGEST_SHOWN]!r}"
                )
    return values, complaints


def _typed(text: str, kind: OutputType) -> object:
    match kind:
        case "integer":
            return _integer(text)
        case "number":
            return _integer(text) if text.strip().lstrip("+-").isdecimal() else _float(text)
        case "boolean":
            return _boolean(text)
        case "json":
            return _json(text)
        case _:
            _check_carried(text)
            return text


class _NotCarried(ValueError):
    """A value would be lost on its way through Airflow; the text is the reason."""


def _json(text: str) -> object:
    try:
        value = json.loads(text, parse_constant=_float, parse_float=_float, parse_int=_integer)
    except RecursionError:
        raise _NotCarried(f"it is more than {_DEEPEST} levels deep") from None
    level = [value]
    for _ in range(_DEEPEST):
        for item in level:
            _check_carried(item)
        level = [below for item in level for below in _inside(item)]
    if level:
        raise _NotCarried(f"it is more than {_DEEPEST} levels deep")
    return value


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_carried(value: object) -> None:
    """Refuse NUL, which PostgreSQL's JSON lacks, lone surrogates, which UTF-8 lacks, and keys that Airflow reserves."""
    if isinstance(value, dict) and (reserved := _RESERVED.intersection(value)):
        raise _NotCarried(f"the key {reserved.pop()}")
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= char <= "\udfff" for char in value)):
        raise _NotCarried(f"the character in {value[:_LONGEST_SHOWN]!r}")


def _integer(text: str) -> int:
    """A whole number that Airflow can carry: 64 bits."""
    number = int(text)
    if not -_GREATEST <= number < _GREATEST:
        raise ValueError(text)
    return number


def _float(text: str) -> float:
    """A number that JSON can hold: neither infinite nor NaN."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _boolean(text: str) -> bool:
    words: Mapping[str, bool] = {"true": True, "false": False}
    try:
        return words[text.strip()]
    except KeyError:
        raise ValueError(text) from None
