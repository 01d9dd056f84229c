"""One ssh connection: refusals, lost connections, limits of sshd, and what goes over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.transport import breaker, ssh
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.transport.ssh import SshTransport
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.testing.login_node import HOST, LoginNode

from .conftest import Bench, no_files

MakeRequest = Callable[..., JobRequest]


def _ssh(node: LoginNode, **changes: Any) -> SshTransport:
    settings = {
        "username": node.user, "client_keys": [str(node.key)], "known_hosts": str(node.known_hosts), "config": [], **changes,
    }  # fmt: skip

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(HOST, node.port, **settings)

    return SshTransport(connect, "slurm_main")


async def test_a_wrong_host_key_and_a_refused_key_fail_at_once(own_login_node: LoginNode, tmp_path: Path) -> None:
    other = tmp_path / "known_hosts"
    public = own_login_node.key.with_suffix(".pub").read_text()
    other.write_text(f"[{HOST}]:{own_login_node.port} {public}")
    with pytest.raises(errors.LoginRequired, match="host key of slurm_main differs from the known one"):
        await _ssh(own_login_node, known_hosts=str(other)).run(("true",))
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(errors.LoginRequired, match=r"refuses the login.*check the user and the key"):
        await _ssh(own_login_node, client_keys=[stranger]).run(("true",))


async def test_a_refusal_after_a_login_is_waited_out_and_not_hammered(own_login_node: LoginNode) -> None:
    now = 0.0
    transport = _ssh(own_login_node)
    transport._breaker = breaker.Breaker(clock=lambda: now)
    await transport.run(("true",))
    known = (own_login_node.folder / "authorized_keys").read_bytes()
    (own_login_node.folder / "authorized_keys").write_text("")
    own_login_node.drop_sessions()
    with pytest.raises(errors.ConnectionLost, match="the connection to slurm_main was lost"):
        await transport.run(("true",))
    with pytest.raises(errors.LoginAwaited, match=r"paused.*refuses the login.*next login is tried at .* UTC"):
        await transport.run(("true",))
    (own_login_node.folder / "authorized_keys").write_bytes(known)
    with pytest.raises(errors.LoginAwaited):  # nobody knocks so soon after a refusal
        await transport.run(("true",))
    now += breaker.FIRST_REST
    assert (await transport.run(("true",))).status == 0


async def test_a_node_that_is_away_is_not_hammered_and_found_when_it_is_back(own_login_node: LoginNode) -> None:
    now, attempts = 0.0, 0
    transport = _ssh(own_login_node)
    transport._breaker = breaker.Breaker(clock=lambda: now)
    connect = transport._connect

    def counted() -> Any:
        nonlocal attempts
        attempts += 1
        return connect()

    transport._connect = counted
    own_login_node.stop()
    for expected in (1, 2, 3):
        answers = await asyncio.gather(*(transport.run(("true",)) for _ in range(20)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {errors.ConnectionLost}
        assert attempts == expected
        now += 1.5 * breaker.FIRST_PAUSE * 2 ** (expected - 1)
    own_login_node.start()
    assert (await transport.run(("true",))).status == 0
    await transport.close()


async def test_what_cannot_be_fed_is_told(own_login_node: LoginNode) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise errors.StoreError("a content is missing")

    for transport in (_ssh(own_login_node), LocalTransport()):
        with pytest.raises(errors.StoreError, match="a content is missing"):
            await transport.run(("cat",), broken())
        await transport.close()


async def test_a_host_that_does_not_answer_is_a_lost_connection(own_login_node: LoginNode) -> None:
    own_login_node.stop()
    with pytest.raises(errors.ConnectionLost, match="slurm_main cannot be reached"):
        await _ssh(own_login_node).run(("true",))


async def test_commands_over_ssh(own_login_node: LoginNode) -> None:
    transport = _ssh(own_login_node)
    odd = "a 'b' \"c\" $(id) `id` ; \\ * ? !x"
    reply = await transport.run(("printf", "%s", odd))
    assert reply.stdout.decode() == odd
    assert (await transport.run(("sh", "-c", "cat; exit 3"), b"\0\xff")).stdout == b"\0\xff"
    many = await asyncio.gather(*(transport.run(("echo", str(n))) for n in range(40)))
    assert [int(reply.stdout) for reply in many] == list(range(40))
    with pytest.raises(errors.ConnectionLost, match="no answer within 0 s"):
        await transport.run(("sleep", "60"), limit=0.2)
    await transport.close()


async def test_more_sessions_than_sshd_allows_wait_for_their_turn(
    own_login_node: LoginNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_login_node.folder / "sshd_config"
    own_login_node.stop()
    text = config.read_text()
    monkeypatch.setattr(LoginNode, "_config", lambda _: f"{text}MaxSessions 1\n")
    own_login_node.start()
    transport = _ssh(own_login_node)
    several = await asyncio.gather(*(transport.run(("echo", str(n))) for n in range(5)))
    assert [int(reply.stdout) for reply in several] == list(range(5))
    begun = own_login_node.folder / "begun"
    first = asyncio.create_task(transport.run(("sh", "-c", 'touch "$1"; exec sleep 60', "first", str(begun))))
    await Bench.until(begun.exists)
    monkeypatch.setattr(ssh, "SESSION_PAUSES", (0.1,))
    with pytest.raises(errors.ConnectionLost, match="opens no further session"):
        await transport.run(("true",))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await transport.close()


async def test_a_dropped_connection_and_a_restarted_sshd_are_waited_out(
    own_login_node: LoginNode, tmp_path: Path, make_request: MakeRequest
) -> None:
    from hotswap_airflow.cluster.jobs.conductor import JobConductor
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.watch.watched_job import Interval
    from hotswap_airflow.cluster.watch.watcher import JobWatcher

    transport = _ssh(own_login_node)
    client = ClusterClient(transport, str(tmp_path / "work"), "main")
    conductor = JobConductor(client, JobWatcher(client, Interval(0.1, 0.3)))
    lines: list[str] = []
    request = make_request("while [ ! -e go ]; do sleep 0.1; done; echo went on")
    await conductor.lay_out(request.key.run.folder, "", no_files, lines.append)
    task = asyncio.create_task(conductor.conduct(request, "1 0", lines.append))
    await Bench.until(lambda: any("RUNNING" in line for line in lines))
    own_login_node.drop_sessions()
    own_login_node.stop()
    await Bench.until(lambda: any("waiting for main" in line for line in lines))
    own_login_node.start()
    (tmp_path / "work" / "runs" / request.key.run.folder / "go").touch()
    outcome = await asyncio.wait_for(task, 60)
    assert outcome.error is None
    assert "went on" in "\n".join(lines)
    await transport.close()
