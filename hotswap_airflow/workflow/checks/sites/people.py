"""Who may do what in the site file: the members of projects, and the secrets that files may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.workflow.spec.site_spec import is_member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.spec.site_spec import SiteSpec
    from hotswap_airflow.workflow.text.document import Document, Path


def judge_members(document: Document, project: str) -> Iterator[Problem]:
    """Find items of a list of members that are no names."""
    here = ("projects", project, "members")
    members = document.raw(*here)
    for index, item in enumerate(members if isinstance(members, list) else ()):
        if not is_member(item):
            words = f"an item of `members` of project {project} is no name"
            remedy = "write names alone, or a map for other roles: `members: {NAME: viewer}`"
            yield document.at_value((*here, index), "wrong-type", words, remedy)


def judge_site_secrets(document: Document, spec: SiteSpec) -> Iterator[Problem]:
    """Find secrets by which a cluster is reached: with one, a workflow could act as another identity."""
    reached: dict[str, str] = {}
    for name, cluster in spec.clusters.items():
        if cluster.kind == "slurm":
            connection = document.raw("clusters", name, "connection") or name
            reached |= {str(way): name for way in (connection, cluster.monitor) if way is not None}
    places: list[Path] = [("policy", "secrets"), *(("projects", name, "secrets") for name in spec.projects)]
    for place in places:
        items = document.raw(*place)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, str) and item in reached:
                words = f"`{item}` is the connection by which cluster {reached[item]} is reached"
                remedy = "remove it: no workflow may use it"
                yield document.at_value((*place, index), "conflict", words, remedy)
