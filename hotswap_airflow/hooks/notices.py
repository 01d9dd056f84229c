"""Notices of the ends of runs, by mail or over an Airflow connection. Airflow calls them in the dag-processor."""

from __future__ import annotations

import html
import logging
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from airflow.configuration import conf
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Connection

log = logging.getLogger(__name__)
_LIMIT = 30.0
_RETRIES = 2


@dataclass(frozen=True)
class Notice:
    """What a notice of a run's end contains. ``reason`` is Airflow's, ``url`` the page of the run."""

    event: str
    workflow: str
    version: str
    environment: str
    project: str
    run_id: str
    reason: str
    url: str

    @property
    def title(self) -> str:
        """One line."""
        words = {"success": "succeeded", "failed": "failed"}
        return f"{self.workflow} {words[self.event]} in {self.environment}"

    @property
    def lines(self) -> list[str]:
        """All of it, one fact a line."""
        facts = (("run", self.run_id), ("version", self.version), ("project", self.project), ("reason", self.reason))
        return [self.title, *(f"{name}: {text}" for name, text in facts if text), self.url]


@dataclass(frozen=True)
class RunNotice:
    """A callback of a Dag that notifies one target, a mail address or the id of a connection, of an event.

    Each target has a callback of its own: Airflow logs what one of them raises, and goes on with the next.
    """

    event: str
    target: str
    workflow: str
    version: str
    environment: str
    project: str = ""

    def __call__(self, context: Mapping[str, Any]) -> None:
        """Notify the target."""
        notice = self._notice(context)
        if "@" in self.target:
            _mail(self.target, notice)
        elif fault := _send(self.target, notice):
            log.error("%s was not notified of %s: %s", self.target, notice.run_id, fault)

    def _notice(self, context: Mapping[str, Any]) -> Notice:
        run_id = str(context.get("run_id") or getattr(context.get("dag_run"), "run_id", ""))
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        return Notice(
            event=self.event,
            workflow=self.workflow,
            version=self.version,
            environment=self.environment,
            project=self.project,
            run_id=run_id,
            reason=str(context.get("reason") or ""),
            url=f"{base}/dags/{quote(self.workflow, safe='')}/runs/{quote(run_id, safe='')}",
        )


def _send(target: str, notice: Notice) -> str:
    """Notify over a connection; an empty text, or why that cannot be."""
    try:
        connection = BaseHook.get_connection(target)
    except AirflowNotFoundException:
        return "Airflow has no connection of this id; create it"
    match connection.conn_type:
        case "http" | "https":
            _post(connection, notice)
            return ""
        case "slackwebhook":
            return _slack(target, notice)
    words = "use a mail address, or a connection of type http or slackwebhook"
    return f"its connection is of type {connection.conn_type!r}; {words}"


def _mail(address: str, notice: Notice) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    body = "".join(f"<p>{html.escape(line)}</p>" for line in notice.lines)
    # Not called as a notifier, which would render its texts by Jinja.
    SmtpNotifier(to=address, subject=notice.title, html_content=body).notify({})


def _post(connection: Connection, notice: Notice) -> None:
    host = connection.host or ""
    url = host if "://" in host else f"{connection.schema or connection.conn_type}://{host}"
    address = httpx.URL(url)
    address = address.copy_with(port=connection.port) if connection.port else address
    login = (connection.login, connection.password or "") if connection.login else None
    with httpx.Client(transport=httpx.HTTPTransport(retries=_RETRIES), timeout=_LIMIT, auth=login) as client:
        client.post(address, json=asdict(notice), headers=_headers(connection)).raise_for_status()


def _headers(connection: Connection) -> dict[str, str]:
    found = connection.extra_dejson.get("headers")
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _slack(target: str, notice: Notice) -> str:
    try:
        provider = import_module("airflow.providers.slack.hooks.slack_webhook")
    except ImportError:
        return "install apache-airflow-providers-slack"
    provider.SlackWebhookHook(slack_webhook_conn_id=target).send_text(html.escape("\n".join(notice.lines), quote=False))
    return ""
