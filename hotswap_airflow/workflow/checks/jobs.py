"""The body of each job and how it runs: script, shell, container, modules, software, cloud."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.limits import limit_violations
from hotswap_airflow.slurm.options import unsafe_characters
from hotswap_airflow.slurm.request import PATH_TYPES
from hotswap_airflow.workflow.checks.resources import readable
from hotswap_airflow.workflow.job_layers import container_of, options_of
from hotswap_airflow.workflow.spec.job_spec import InputSpec
from hotswap_airflow.workflow.spec.vocabulary import choice, keys_of_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.site import ClusterConfig
    from hotswap_airflow.workflow.spec.job_spec import BurstSpec, JobSpec
    from hotswap_airflow.workflow.text.document import Document, Path

_BODIES = ("run", "script", "uses")
_OF_SLURM = ("slurm", "sweep", "container", "modules", "software", "shell", "checkpoint", "burst")
"""Keys that have no meaning for an operator."""
_PUBLISH = re.compile(r"\{[^{}]*\}")
_PLACEHOLDERS = frozenset({"{workflow}", "{environment}", "{run}", "{date}"})


def check_jobs(context: CheckContext) -> Iterator[Problem]:
    """Find jobs without a body or with two, and problems in what their bodies run in."""
    for job in context.keys_of("jobs"):
        if context.raw("jobs", job) is None:
            words = f"jobs.{job} is empty"
            yield context.at_key(("jobs", job), "missing-key", words, "add `run:` or `script:`")
    for job, body in context.spec.jobs.items():
        if isinstance(context.raw("jobs", job), dict):
            yield from _body(context, job)
            yield from _inputs(context, job)
            yield from _shell(context, job, body)
            yield from _container(context, job)
            yield from _published(context, job, body)
            if body.burst is not None:
                yield from _burst(context, job, body.burst)
    for kind, names in (("defaults", [None]), ("templates", context.spec.templates), ("jobs", context.spec.jobs)):
        for name in names:
            path = (kind,) if name is None else (kind, name)
            yield from judge_layer(context.document, path, context.spec.software)


def _given(document: Document, *path: str | int) -> list[str]:
    """The keys of a map that have a value."""
    return [key for key in document.keys_of(*path) if document.raw(*path, key) is not None]


def _body(context: CheckContext, job: str) -> Iterator[Problem]:
    keys = _given(context.document, "jobs", job)
    bodies = [key for key in keys if key in _BODIES]
    for second in bodies[1:]:
        words = f"`{bodies[0]}` and `{second}` exclude each other in jobs.{job}"
        yield context.at_key(("jobs", job, second), "conflict", words, f"keep one of `{bodies[0]}` and `{second}`")
    if not bodies and not (context.has_broken_templates and "extends" in keys):
        yield context.at_key(("jobs", job), "missing-key", f"jobs.{job} lacks `run`", "add `run:` or `script:`")
    if "with" in keys and "uses" not in keys:
        words = f"`with` in jobs.{job} has the arguments of an operator, but the job has no `uses`"
        yield context.at_key(("jobs", job, "with"), "conflict", words, "use `env:` or `inputs:` for a script")
    for key in keys if bodies == ["uses"] else ():
        if key in _OF_SLURM:
            words = f"`{key}` is for Slurm jobs, but jobs.{job} runs an operator by `uses`"
            yield context.at_key(("jobs", job, key), "conflict", words, f"remove `{key}`, or use `run:`")


def _inputs(context: CheckContext, job: str) -> Iterator[Problem]:
    for name in context.keys_of("jobs", job, "inputs"):
        here = ("jobs", job, "inputs", name)
        keys = _given(context.document, *here)
        both = [key for key in keys if key in {"path", "from"}]
        if len(both) > 1:
            words = f"`path` and `from` exclude each other in {'.'.join(here)}"
            yield context.at_key((*here, both[1]), "conflict", words, "keep one of them")
        elif (
            not both
            and set(context.keys_of(*here)) <= {*keys_of_model(InputSpec)}
            and (context.keys_of(*here) or context.raw(*here) in ({}, None))
        ):
            yield context.at_key(here, "missing-key", f"{'.'.join(here)} lacks `path`", "add `path:` or `from:`")


def _shell(context: CheckContext, job: str, body: JobSpec) -> Iterator[Problem]:
    if body.shell is None:
        return
    place = ("jobs", job, "shell")
    if body.script is not None:
        words = f"`shell` runs the text of `run`, but jobs.{job} has a `script`"
        yield context.at_key(place, "conflict", words, "write the interpreter in the first line of the script: `#!…`")
    elif fault := shell_fault(body.shell):
        yield context.at_value(place, "slurm-value-unsafe", *fault)


def shell_fault(text: str) -> tuple[str, str] | None:
    """Why a text cannot be the command of a shell, and the remedy; None if it can.

    >>> shell_fault("bash -l"), shell_fault("'")[0]
    (None, "`shell` cannot be read as a command: '")
    """
    if found := unsafe_characters(text.replace(" ", "")):
        return f"`shell` holds {found}: {text!r}", "write it in one line"
    try:
        words = shlex.split(text)
    except ValueError:
        return f"`shell` cannot be read as a command: {text}", "close its quote"
    return None if words else ("`shell` is empty", "write for example `shell: python3`")


def _container(context: CheckContext, job: str) -> Iterator[Problem]:
    # Without a known cluster, the layers of the file itself decide.
    clusters: tuple[ClusterConfig | None, ...] = tuple(context.clusters_of(job)) or (None,)
    for cluster in clusters:
        container = container_of(context.spec, job, cluster)
        if container is None or container.get("runtime") == "none" or container.get("image"):
            continue
        path: Path = ("jobs", job, "container")
        if context.raw(*path) is None and context.raw("defaults", "container") is not None:
            path = ("defaults", "container")
        words = f"the container of jobs.{job} lacks `image`"
        yield context.at_key(path, "missing-key", words, "add `image: docker://NAME`, or write `runtime: none`")
        return


def judge_layer(document: Document, path: Path, known_software: Iterable[str]) -> Iterator[Problem]:
    """Find problems in one layer: values with unsafe characters, software that is not declared or has a container."""
    owner = ".".join(map(str, path))
    for index, module in enumerate(document.raw(*path, "modules") or ()):
        if isinstance(module, str) and (found := unsafe_characters(module) or ("nothing" if not module else "")):
            words = f"a module of {owner} holds {found}: {module!r}"
            yield document.at_value((*path, "modules", index), "slurm-value-unsafe", words, "write one name an item")
    yield from _binds(document, path, owner)
    software = document.raw(*path, "software")
    keys = [key for key in _given(document, *path) if key in {"software", "container"}]
    if isinstance(software, str) and software not in known_software:
        words = f"there is no software `{software}` in {owner}"
        yield document.at_value((*path, "software"), "software-unknown", words, choice(software, known_software))
    if len(keys) > 1 and document.raw(*path, "container", "runtime") != "none":
        words = f"`{keys[0]}` and `{keys[1]}` exclude each other in {owner}"
        yield document.at_key((*path, keys[1]), "conflict", words, "keep one of them, or write `runtime: none`")


def _binds(document: Document, path: Path, owner: str) -> Iterator[Problem]:
    image = document.raw(*path, "container", "image")
    if isinstance(image, str) and (found := unsafe_characters(image)):
        words = f"the image of {owner} holds {found}: {image!r}"
        yield document.at_value((*path, "container", "image"), "slurm-value-unsafe", words, "write its name alone")
    for index, bind in enumerate(document.raw(*path, "container", "binds") or ()):
        if not isinstance(bind, str):
            continue
        place = (*path, "container", "binds", index)
        if found := unsafe_characters(bind) or ("a comma" if "," in bind else ""):
            words = f"a bind of {owner} holds {found}: {bind!r}"
            yield document.at_value(place, "slurm-value-unsafe", words, "write one `SRC:DST` an item")
        elif not re.fullmatch(r"/[^:]*(?::/[^:]*(?::r[ow])?)?", bind):
            words = f"`{bind}` is no bind"
            yield document.at_value(place, "wrong-type", words, "write `/SRC`, `/SRC:/DST` or `/SRC:/DST:ro`")


def _burst(context: CheckContext, job: str, burst: BurstSpec) -> Iterator[Problem]:
    if context.site is None:
        return
    here: Path = ("jobs", job, "burst")
    cluster = context.site.clusters.get(burst.to)
    if cluster is None or cluster.cloud is None:
        clouds = [name for name, other in context.site.clusters.items() if other.cloud is not None]
        words = f"`{burst.to}` is no cluster with `cloud`"
        yield context.at_value((*here, "to"), "burst-target", words, choice(burst.to, clouds))
        return
    for key, asked, most in (
        ("max_nodes", burst.max_nodes, cluster.cloud.max_nodes),
        ("max_cost", burst.max_cost, cluster.cloud.max_cost),
    ):
        if asked is not None and most is not None and asked > most:
            words = f"`{key}` is {asked}, but cluster {burst.to} allows {most}"
            yield context.at_value((*here, key), "policy-limit", words, f"use {most} or less")
    options = {**options_of(context.spec, job, None), "partition": (cluster.defaults.slurm or {}).get("partition")}
    known = readable({name: value for name, value in options.items() if value is not None})
    for option, refusal in limit_violations(known, cluster.limits):
        place = ("jobs", job, "slurm", option)
        words = f"on cluster {burst.to}: {refusal.message}"
        yield context.at_value(place if context.raw(*place) is not None else here, refusal.code, words, refusal.remedy)


def _published(context: CheckContext, job: str, body: JobSpec) -> Iterator[Problem]:
    for name, output in body.outputs.items():
        if output.publish is None:
            continue
        place = ("jobs", job, "outputs", name, "publish")
        unknown = [found for found in _PUBLISH.findall(output.publish) if found not in _PLACEHOLDERS]
        if output.type not in PATH_TYPES:
            words = f"`publish` copies a file or a folder, but output `{name}` is a {output.type}"
            yield context.at_key(place, "conflict", words, "remove it, or give the output a `path`")
        elif body.sweep is not None:
            words = f"`publish` of output `{name}` cannot wait for all elements of the sweep of jobs.{job}"
            yield context.at_key(place, "conflict", words, "publish it from a job that needs the sweep")
        elif not output.publish.startswith("/") or ".." in output.publish.split("/"):
            words = f"`publish` is {output.publish}, but must be an absolute folder on the cluster"
            yield context.at_value(place, "wrong-type", words, "write for example `/shared/results/{workflow}`")
        elif unknown:
            words = f"`publish` holds `{unknown[0]}`, which is not filled in"
            yield context.at_value(place, "wrong-type", words, f"use {', '.join(sorted(_PLACEHOLDERS))}")
