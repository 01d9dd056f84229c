"""What a single value of a file may look like, as JSON Schema: for editors, which know no Python.

The models of ``spec`` decide what is valid. A pattern here allows every text that its type allows; a test compares
both. Schemas with a title are written once, under ``$defs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hotswap_airflow.domain.currency import CURRENCIES
from hotswap_airflow.slurm.options import OPTIONS

if TYPE_CHECKING:
    from hotswap_airflow.slurm.options import Kind

Schema = dict[str, Any]

_NAME = "[A-Za-z][A-Za-z0-9_-]{0,62}"
_SPAN = "(?=.)(?:[0-9]+w)?(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?"
_CLOCK = "[0-9]+:[0-5]?[0-9]:[0-5]?[0-9]|[0-9]+-[0-9]{1,2}(?::[0-5]?[0-9]){0,2}"
_GPUS = "(?:[A-Za-z0-9][A-Za-z0-9_.-]*:)?[1-9][0-9]*"
_OFFSET = "(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2}){0,2})"
_PRESETS = "@(?:hourly|daily|weekly|monthly|quarterly|yearly)"
_OURS = "HOTSWAP|PARAM|SWEEP|INPUT|OUTPUT|SECRET|SLURM"
_PERCENT = "^0*(?:[0-9]{1,2}|100)%$"

WORKFLOW_NAME = f"^(?!hotswap-){_NAME}$"
SECRET_FIELD = r"^(?:login|password|host|port|schema|uri|extra\.[A-Za-z0-9_.-]+)$"  # noqa: S105 - a pattern
SIGNAL = "^(?:SIG)?[A-Z][A-Z0-9]*@[0-9]{1,9}$"
WORKDIR = r"^(?!~)(?!.*\$(?:\{?[A-Za-z_]|\())[^%\\\n`]+$"
VERSION = r"^(?:previous|baseline|[0-9]+(?:\.[0-9]+)*(?:[-+.][A-Za-z0-9.+-]+)?)$"
ADDRESSEE = r"^(?:[^\s@<>,;]+@[^\s@<>,;]+|[A-Za-z0-9_.-]+)$"
CLUSTER = "^[A-Za-z0-9][A-Za-z0-9_.-]*$"
PUBLISH = r"^/(?:[^{}]|\{(?:workflow|environment|run|date)\})*$"
BIND = r"^/[^:,\s]*(?::/[^:,\s]*(?::r[ow])?)?$"

TEXT: Schema = {"type": ["string", "number"]}
SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
MONEY: Schema = {"type": "number", "minimum": 0}
FACTOR: Schema = {"type": "number", "exclusiveMinimum": 1}
PERCENTAGES: Schema = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}
SHARE: Schema = {"type": ["number", "string"], "minimum": 0, "pattern": _PERCENT}
WHOLE_SHARE: Schema = {"type": ["integer", "string"], "minimum": 0, "pattern": _PERCENT}
RELEASE: Schema = {"type": ["string", "number"], "minimum": 0, "pattern": VERSION}
CONDITION: Schema = {"type": ["string", "boolean", "null"]}
WORD: Schema = {"type": "string", "pattern": r"^\S+$"}
MODULE: Schema = {"type": ["string", "number"], "pattern": r"^\S+$"}

NAME: Schema = {
    "title": "Name",
    "description": "A letter, then letters, digits, `-` and `_`; 63 characters at most.",
    "type": "string",
    "pattern": f"^{_NAME}$",
}
AXIS_NAME: Schema = {
    "title": "AxisName",
    "description": "A name, but not `index` or `count`, which are set for every sweep.",
    "type": "string",
    "pattern": f"^(?!(?:[Ii][Nn][Dd][Ee][Xx]|[Cc][Oo][Uu][Nn][Tt])$){_NAME}$",
}
SITE_NAME: Schema = {
    "title": "SiteName",
    "description": "A letter or digit, then letters, digits, `.`, `-` and `_`; 63 characters at most.",
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
}
VARIABLE: Schema = {
    "title": "Variable",
    "description": "A letter or `_`, then letters, digits and `_`; not one of hotswap's own or Slurm's.",
    "type": "string",
    "pattern": f"^(?!(?:{_OURS})_)[A-Za-z_][A-Za-z0-9_]*$",
}
DURATION: Schema = {
    "title": "Duration",
    "description": "A length of time such as `90s`, `30m`, `2h`, `1h30m`, `2d` or `1w`.",
    "type": "string",
    "pattern": f"^{_SPAN}$",
}
TIME_LIMIT: Schema = {
    "title": "TimeLimit",
    "description": "A duration such as `2h`, or Slurm's `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`, or whole minutes.",
    "type": ["string", "integer"],
    "minimum": 0,
    "pattern": f"^(?:{_SPAN}|{_CLOCK})$",
}
SIZE: Schema = {
    "title": "Size",
    "description": "A size such as `4G`, `4GB` or `4000M`; a number without a letter is MB.",
    "type": ["string", "integer"],
    "minimum": 0,
    "pattern": "^[0-9]+(?:[KMGTkmgt][Bb]?)?$",
}
CRON: Schema = {
    "title": "Cron",
    "description": "Five fields (minute, hour, day, month, day of the week), or a word such as `@daily`.",
    "type": "string",
    "pattern": rf"^(?:{_PRESETS}|\s*\S+(?:\s+\S+){{4}}\s*)$",
}
MOMENT: Schema = {
    "title": "Moment",
    "description": "A date such as `2026-01-31`, or a time with its offset such as `2026-01-31T06:00:00Z`.",
    "type": "string",
    "pattern": f"^[0-9]{{4}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?:[T ][0-9]{{2}}.*{_OFFSET})?$",
}
CURRENCY: Schema = {
    "title": "Currency",
    "description": "A code of ISO 4217, such as `EUR`.",
    "type": "string",
    "enum": sorted(CURRENCIES),
}
REFERENCE: Schema = {
    "title": "Reference",
    "description": "A value that is known when the job starts.",
    "type": "object",
    "properties": {
        "from": {
            "description": "`params.X`, `jobs.JOB.OUTPUT`, `jobs.JOB.state`, `sweep.X` or `environment`.",
            "type": "string",
            "pattern": rf"^(?:environment|(?:params|sweep)\.{_NAME}|jobs\.{_NAME}\.{_NAME})$",
        }
    },
    "required": ["from"],
    "additionalProperties": False,
}

_KINDS: dict[Kind, Schema] = {
    "text": {"type": ["string", "number"], "pattern": r"^\S+$"},
    "whole": {"type": "integer", "minimum": 1},
    "any-whole": {"type": "integer"},
    "count": {"type": ["integer", "string"], "minimum": 1, "pattern": "^[1-9][0-9]*(?:-[1-9][0-9]*)?$"},
    "gpus": {"type": ["integer", "string"], "minimum": 1, "pattern": f"^{_GPUS}(?:,{_GPUS})*$"},
    "size": SIZE,
    "time": TIME_LIMIT | {"minimum": 1},
    "switch": {"type": "boolean"},
    "exclusive": {"enum": [True, False, "user", "mcs"]},
}
_MEANINGS = {
    "partition": "The partition, or several with commas between them.",
    "account": "The account that pays; that of the project if it has one.",
    "qos": "The quality of service.",
    "time": "The time limit of the job.",
    "nodes": "How many nodes, or the least and the most as `2-4`.",
    "ntasks": "How many tasks.",
    "ntasks-per-node": "How many tasks on each node.",
    "cpus-per-task": "How many CPUs for each task.",
    "cpus-per-gpu": "How many CPUs for each GPU.",
    "threads-per-core": "How many threads of each core are used.",
    "mem": "Memory of each node; excludes `mem-per-cpu` and `mem-per-gpu`.",
    "mem-per-cpu": "Memory for each CPU; excludes `mem` and `mem-per-gpu`.",
    "mem-per-gpu": "Memory for each GPU; excludes `mem` and `mem-per-cpu`.",
    "gpus": "How many GPUs on all nodes together: a number, `TYPE:NUMBER`, or several with commas.",
    "gpus-per-node": "How many GPUs on each node.",
    "gpus-per-task": "How many GPUs for each task.",
    "gres": "Other generic resources of each node.",
    "constraint": "Features that the nodes must have.",
    "oversubscribe": "Whether the nodes may be shared with other jobs.",
    "wckey": "The key of the workload, for accounting.",
    "licenses": "Licenses, such as `solver:2`.",
    "exclusive": "Whether the nodes are for this job alone; `user` and `mcs` share them with jobs of the same.",
    "requeue": "Whether Slurm may begin the job again by itself.",
    "signal": "A signal before the end, such as `USR1@120`; excludes `checkpoint`.",
    "reservation": "The reservation whose nodes are used.",
    "nice": "How much later than others the job is considered.",
    "begin": "The job starts no earlier.",
    "deadline": "The job is removed if it cannot end by then.",
    "tmp": "Temporary disk space of each node.",
    "hint": "How tasks are bound to CPUs.",
    "distribution": "How tasks are spread over nodes and sockets.",
    "nodelist": "Nodes that the job must have.",
    "exclude": "Nodes that the job must not have.",
    "switches": "The most switches between the nodes, and how long to wait for so few.",
}
SLURM: Schema = {
    "title": "SlurmOptions",
    "description": "Long options of sbatch without the dashes; each may be `{from: REFERENCE}`.",
    "type": "object",
    "properties": {
        name: {"description": _MEANINGS[name], "anyOf": [_KINDS[kind], REFERENCE, {"type": "null"}]}
        for name, kind in OPTIONS.items()
    },
    "additionalProperties": False,
}
"""Null removes an option that a lower layer sets."""

NAMED = {
    schema["title"]: schema
    for schema in (
        NAME, AXIS_NAME, SITE_NAME, VARIABLE, DURATION, TIME_LIMIT, SIZE, CRON, MOMENT, CURRENCY, REFERENCE, SLURM,
    )
}  # fmt: skip
"""The schemas with a title, by it."""
