"""What a person is told where the API is not what they think; a real server that says it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from hotswap_airflow.airflow_client import RestClient
from hotswap_airflow.errors import SetupError


class _Server(http.server.ThreadingHTTPServer):
    answer: tuple[int, bytes] = (200, b"{}")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def _say(self) -> None:
        status, body = self.server.answer
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = _say  # noqa: N815 - as the library calls them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    made = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, b"<html>nginx</html>"), "there is no Airflow 3 at"),
        ((404, b"{}"), "there is no Airflow 3 at"),
        ((200, b"<html>"), "there is no Airflow 3 at"),
        ((301, b""), "with 301"),
        ((500, b"oh"), "with 500: oh"),
        ((403, b"{}"), "refuses your login"),
    ],
)
def test_only_airflow_itself_can_say_that_there_is_no_such_task(
    server: _Server, answer: tuple[int, bytes], words: str
) -> None:
    client = RestClient(f"http://127.0.0.1:{server.server_port}", token="t")
    server.answer = answer
    with pytest.raises(SetupError, match=words):
        client.task_state("d", "r", "t")
    server.answer = (404, b'{"detail": "not found"}')
    assert client.task_state("d", "r", "t") == ""
    assert not client.has_dag("d")
    with pytest.raises(SetupError, match="Airflow has no /dags/d/clearTaskInstances"):
        client.clear_task("d", "r", "t")


def test_an_address_where_nobody_can_log_in_is_told(server: _Server) -> None:
    with pytest.raises(SetupError, match="there is no Airflow 3"):
        RestClient(f"http://127.0.0.1:{server.server_port}", user="u", password="p")
    with pytest.raises(SetupError, match="gives no answer"):
        RestClient("http://127.0.0.1:1", user="u", password="p")
    with pytest.raises(SetupError, match="gives no answer"):
        RestClient("http://[", user="u", password="p")
