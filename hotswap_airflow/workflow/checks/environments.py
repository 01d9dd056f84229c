"""The overlays of environments: which environments and which keys they may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.workflow.spec.vocabulary import NOT_IN_AN_OVERLAY, choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.site import Site
    from hotswap_airflow.workflow.text.document import Document


def judge_overlays(document: Document, site: Site | None) -> Iterator[Problem]:
    """Find overlays of unknown environments, keys that no overlay may have, and jobs that the file does not have."""
    jobs = document.keys_of("jobs")
    for environment in document.keys_of("environments"):
        here = ("environments", environment)
        if site is not None and environment not in site.environments:
            words = f"the site has no environment `{environment}`"
            yield document.at_key(here, "environment-unknown", words, choice(environment, site.environments))
        for key in sorted(NOT_IN_AN_OVERLAY & set(document.keys_of(*here))):
            words = f"`{key}` does not belong in an overlay"
            yield document.at_key((*here, key), "misplaced-key", words, "put it at the top of the file")
        for job in document.keys_of(*here, "jobs"):
            if job not in jobs:
                words = f"the overlay of {environment} changes the job `{job}`, but the file has no such job"
                yield document.at_key((*here, "jobs", job), "environment-new-job", words, choice(job, jobs))
