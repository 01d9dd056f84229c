"""The rules of the site for all files: projects, accounts, operators, secrets, images, and limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hotswap_airflow.workflow.job_layers import container_of
from hotswap_airflow.workflow.spec.vocabulary import choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.spec.site_spec import PolicySpec
    from hotswap_airflow.workflow.spec.workflow_spec import SecretSpec
    from hotswap_airflow.workflow.text.document import Path

_FIELDS = ("login", "password", "host", "port", "schema", "uri")
_EXTRA = re.compile(r"extra\.[A-Za-z0-9_.-]+")


def check_policy(context: CheckContext) -> Iterator[Problem]:
    """Find what the site does not allow in this file. What a site file must allow is refused without a site file."""
    yield from _secrets(context)
    yield from _operators(context)
    if context.site is not None:
        yield from _project(context, context.site)
        yield from _account(context, context.site)
        yield from _limits(context, context.site.policy)
        yield from _images(context, context.site.policy)


def _project(context: CheckContext, site: Site) -> Iterator[Problem]:
    project = context.spec.project
    if project is not None and project not in site.projects:
        words = f"the site has no project `{project}`"
        yield context.at_value(("project",), "project-unknown", words, choice(project, site.projects))
    elif project is not None and not _may_name(context, site.projects[project].folders):
        words = f"project {project} is for files in {', '.join(site.projects[project].folders or ())}"
        yield context.at_value(("project",), "policy-limit", words, "move the file there, or ask the site's admin")
    elif project is None and site.policy.require_project and context.raw("project") is None:
        words = "the site asks every workflow for its project"
        yield context.at_key((), "project-unknown", words, f"add `project:`, one of {', '.join(site.projects)}")


def _may_name(context: CheckContext, folders: list[str] | None) -> bool:
    """Whether a file lies in a folder whose files may name a project; true if it is not known where it lies."""
    if folders is None or context.below is None:
        return True
    return any(context.below.startswith(f"{folder.strip('/')}/") for folder in folders)


def _account(context: CheckContext, site: Site) -> Iterator[Problem]:
    """Find accounts that are not the project's own."""
    project = site.projects.get(context.spec.project or "")
    if project is None or project.account is None:
        return
    places: list[Path] = [("defaults", "slurm", "account")]
    places += [("jobs", job, "slurm", "account") for job in context.spec.jobs]
    for place in places:
        account = context.raw(*place)
        if account is not None and str(account) != project.account:
            named = "a reference" if isinstance(account, dict) else f"`{account}`"
            words = f"the account is {named}, but project {context.spec.project} has `{project.account}`"
            yield context.at_value(place, "policy-limit", words, "leave `account` out: it is filled in")


def _limits(context: CheckContext, policy: PolicySpec) -> Iterator[Problem]:
    count = len(context.spec.jobs)
    if policy.max_jobs is not None and count > policy.max_jobs:
        words = f"the file has {count} jobs, but the site's policy allows {policy.max_jobs}"
        yield context.at_key(("jobs",), "policy-limit", words, "split it, or ask the site's admin")
    most = policy.max_active_runs
    if most is not None and context.raw("max_active_runs") is not None and context.spec.max_active_runs > most:
        words = f"`max_active_runs` is {context.spec.max_active_runs}, but the site's policy allows {most}"
        yield context.at_value(("max_active_runs",), "policy-limit", words, f"use {most} or less")
    yield from _retries(context, policy.max_retries)


def _retries(context: CheckContext, most: int | None) -> Iterator[Problem]:
    places: list[tuple[Path, int | None]] = [(("defaults", "retries"), context.spec.defaults.retries)]
    for job, body in context.spec.jobs.items():
        places.append((("jobs", job, "retries"), body.retries))
        places.append((("jobs", job, "retry", "max"), body.retry.max if body.retry is not None else None))
    for place, value in places:
        if most is not None and value is not None and value > most and context.raw(*place) is not None:
            words = f"`{place[-1]}` is {value}, but the site's policy allows {most}"
            yield context.at_value(place, "policy-limit", words, f"use {most} or less")


def _images(context: CheckContext, policy: PolicySpec) -> Iterator[Problem]:
    """Find images of jobs, as all layers together name them, that the policy does not allow."""
    if policy.images is None:
        return
    for job in context.spec.jobs:
        for cluster in context.clusters_of(job):
            container = container_of(context.spec, job, cluster) or {}
            image = str(container.get("image") or "")
            site = cluster.defaults.container.image if cluster.defaults.container is not None else None
            is_used = image != "" and container.get("runtime") != "none"
            if not is_used or image == site or image.startswith(tuple(policy.images)):
                continue
            place: Path = ("jobs", job, "container", "image")
            if context.raw(*place) is None:
                place = ("defaults", "container", "image")
            words = f"`{image}` is no image that the site's policy allows"
            remedy = f"use one that begins with {' or '.join(policy.images) or 'nothing: none is allowed'}"
            yield context.at_value(place, "policy-limit", words, remedy)


def _operators(context: CheckContext) -> Iterator[Problem]:
    allowed = context.site.policy.operators if context.site is not None else []
    for job, body in context.spec.jobs.items():
        if body.uses is None:
            continue
        place = ("jobs", job, "uses")
        if body.uses not in allowed:
            words = f"`{body.uses.rpartition('.')[2]}` is not in the operators of the site's policy"
            names = ", ".join(name.rpartition(".")[2] for name in allowed)
            remedy = f"use `run:`, or one of: {names}" if names else "use `run:`, or ask the site's admin for it"
            yield context.at_value(place, "operator-not-allowed", words, remedy)
        yield from _connections(context, ("jobs", job, "with"), body.arguments or {})


def _connections(context: CheckContext, path: Path, arguments: dict[str, Any]) -> Iterator[Problem]:
    """Find connections in an operator's arguments that the site does not list."""
    for name, value in arguments.items():
        if not name.endswith("conn_id") or value is None:
            continue
        if not isinstance(value, str) or value not in _allowed_names(context):
            is_text = isinstance(value, str)
            shown = f"`{value}`, which the site does not list for this file" if is_text else "known only at run time"
            remedy = _ask(context) if is_text else "name a connection itself, so that the site can allow it"
            yield context.at_value((*path, name), "secret-not-allowed", f"`{name}` is {shown}", remedy)


def _secrets(context: CheckContext) -> Iterator[Problem]:
    for name, secret in context.spec.secrets.items():
        here: Path = ("secrets", name)
        kinds = {"connection", "variable"}
        keys = [key for key in context.keys_of(*here) if key in kinds and context.raw(*here, key) is not None]
        if len(keys) > 1:
            words = f"`connection` and `variable` exclude each other in secrets.{name}"
            yield context.at_key((*here, keys[1]), "conflict", words, "keep one of them")
        elif not keys and set(context.keys_of(*here)) <= {"field", *kinds}:
            words = f"secrets.{name} lacks `connection`"
            yield context.at_key(here, "missing-key", words, "add `connection:` or `variable:`")
        elif keys:
            yield from _secret(context, here, keys[0], secret)


def _secret(context: CheckContext, here: Path, key: str, secret: SecretSpec) -> Iterator[Problem]:
    named = secret.connection or secret.variable
    if named is not None and named not in _allowed_names(context):
        words = f"the {key} `{named}` is not one that the site lists for this file"
        yield context.at_value((*here, key), "secret-not-allowed", words, _ask(context))
    field = secret.field
    if field is not None and key == "variable":
        words = "`field` is for connections; a variable has one value"
        yield context.at_key((*here, "field"), "conflict", words, "remove `field`")
    elif field is not None and field not in _FIELDS and not _EXTRA.fullmatch(field):
        words = f"`field` cannot be {field}"
        yield context.at_value((*here, "field"), "wrong-choice", words, f"use one of: {', '.join(_FIELDS)}, extra.KEY")


def _allowed_names(context: CheckContext) -> set[str]:
    """The connections and variables that a file may name; never those by which clusters are reached."""
    if context.site is None:
        return set()
    project = context.site.projects.get(context.spec.project or "")
    listed = {*context.site.policy.secrets, *(project.secrets if project is not None else ())}
    clusters = context.site.clusters.values()
    return listed - {name for c in clusters for name in (c.target.connection, c.target.monitor)}


def _ask(context: CheckContext) -> str:
    if context.site is None:
        return "the site's admin lists it in the site file under `policy.secrets`; set [hotswap] site"
    return "ask the site's admin to list it under `policy.secrets` or the project's `secrets`"
