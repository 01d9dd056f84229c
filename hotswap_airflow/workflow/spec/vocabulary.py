"""Every key of the format: the maps it belongs to, and whether this version of hotswap supports it."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.options import OPTIONS
from hotswap_airflow.workflow.spec import workflow_spec as spec

if TYPE_CHECKING:
    from pydantic import BaseModel

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
WORKFLOW_HEADER = "workflow/v1"
SITE_HEADER = "site/v1"
WORKFLOW_SUFFIXES = (".hotswap.yaml", ".hotswap.json")

_MODELS: dict[str, type[BaseModel]] = {
    "workflow": spec.WorkflowSpec,
    "schedule": spec.Schedule,
    "params": spec.ParamSpec,
    "defaults": spec.Defaults,
    "job": spec.JobSpec,
    "retry": spec.RetrySpec,
    "escalate": spec.Escalate,
    "growth": spec.MemGrowth,
    "checkpoint": spec.CheckpointSpec,
    "sweep": spec.SweepSpec,
    "axis": spec.AxisSpec,
    "inputs": spec.InputSpec,
    "outputs": spec.OutputSpec,
}
SUPPORTED: dict[str, frozenset[str]] = {
    **{
        place: frozenset(field.alias or name for name, field in model.model_fields.items())
        for place, model in _MODELS.items()
    },
    "needs": frozenset({"when"}),  # the model's other field, `job`, is the key above the map
    "slurm": frozenset(OPTIONS),
}
"""The keys that this version of hotswap supports, by the kind of map: fields of the models, or Slurm options."""

LATER: dict[str, frozenset[str]] = {
    "workflow": frozenset(
        "version project start_date catchup max_active_runs timeout secrets software templates"
        " deploy budget environments notify".split()
    ),
    "defaults": frozenset("container modules software".split()),
    "job": frozenset("uses with extends if shell modules software container burst".split()),
    "outputs": frozenset(["publish"]),
}
"""Keys of the format that a later version of hotswap will support."""

_ELSEWHERE: dict[str, frozenset[str]] = {
    "container": frozenset("image runtime launch binds".split()),
    "deploy": frozenset("strategy baseline smoke steps metrics rollback keep".split()),
    "budget": frozenset("amount currency cpu_hours gpu_hours per thresholds on_exceed".split()),
}
_OWNERS = {
    "workflow": "at the top of the file",
    "job": "in a job, under `jobs.NAME:`",
    "params": "under `params.NAME:`",
    "inputs": "under `inputs.NAME:`",
    "outputs": "under `outputs.NAME:`",
    "needs": "under `needs.JOB:`",
    "axis": "under `sweep.over.NAME:`",
    "growth": "under `retry.escalate.mem:` or `retry.escalate.time:`",
}

RESERVED_VARIABLES = re.compile(r"(HOTSWAP|PARAM|SWEEP|INPUT|OUTPUT|SECRET|SLURM)_.*")
SECRET_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY", re.IGNORECASE)


def nearest(word: str, known: object) -> str | None:
    """The known word that is most like the given word; None if none is similar.

    >>> nearest("contianer", ["container", "env"])
    'container'
    """
    words = sorted(str(item) for item in known)  # type: ignore[attr-defined]
    folded = {other.lower().replace("_", "-"): other for other in words}
    near = get_close_matches(word.lower().replace("_", "-"), folded, 1, 0.6)
    return folded[near[0]] if near else None


_HOMES = (
    *("slurm", "job", "workflow", "params", "outputs", "inputs", "needs"),
    *("sweep", "axis", "retry", "checkpoint", "growth"),
)


def judge_key(place: str, key: str) -> tuple[str, str, str]:
    """Code, words and remedy for a key that this version of hotswap does not allow in a kind of map."""
    if key in LATER.get(place, ()):
        return "not-supported", f"`{key}` is not supported yet", "remove it until a later release"
    if key == "<<":
        return "unknown-key", "`<<` is not a key: merge keys do not work", "use `templates` and `extends`"
    here = SUPPORTED[place] | LATER.get(place, frozenset())
    near = nearest(key, here)
    if near and near.replace("_", "-") == key.lower().replace("_", "-"):
        return "unknown-key", f"there is no key `{key}`", f"did you mean `{near}`?"
    if owner := _home(key, place):
        return "misplaced-key", f"`{key}` does not belong", f"put it {owner}"
    remedy = f"did you mean `{near}`?" if near else f"known here: {', '.join(sorted(SUPPORTED[place]))}"
    return "unknown-key", f"there is no key `{key}`", remedy


def _home(key: str, place: str) -> str | None:
    if key == "publish":
        return _OWNERS["outputs"]
    for kind in _HOMES:
        if kind != place and key in SUPPORTED[kind] | LATER.get(kind, frozenset()):
            return _OWNERS.get(kind, f"under `{kind}:`")
    for kind, keys in _ELSEWHERE.items():
        if kind != place and key in keys:
            return f"under `{kind}:`"
    return None
