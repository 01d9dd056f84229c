"""The system's ssh: one connection for everybody, and a person who logs in where a program cannot."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.transport.base import Transport
from hotswap_airflow.cluster.transport.connect import Login, make_transport
from hotswap_airflow.testing import processes
from hotswap_airflow.testing.login_node import HOST, LoginNode


@pytest.fixture
def login(own_login_node: LoginNode) -> Iterator[Login]:
    folder = tempfile.mkdtemp(prefix="hs-")  # sockets have short names
    extra = {
        "transport": "openssh",
        "key_file": str(own_login_node.key),
        "known_hosts": str(own_login_node.known_hosts),
        "control_path": f"{folder}/%C",
    }
    yield Login("slurm_main", HOST, own_login_node.port, own_login_node.user, None, extra)
    shutil.rmtree(folder)


def _connections(node: LoginNode) -> int:
    """How many connections sshd has now: those of its processes whose parent it is itself."""
    assert node.daemon is not None
    parents = [
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        for pid in processes.descendants(node.daemon.pid)
    ]
    return parents.count(str(node.daemon.pid))


async def test_commands_of_all_processes_share_one_connection(login: Login, own_login_node: LoginNode) -> None:
    one, other = make_transport(login, {}), make_transport(login, {})
    hostile = "'\"; touch x; $(id) \n"
    replies = await asyncio.gather(*(one.run(("printf", "%s", hostile)) for _ in range(12)))
    assert {reply.stdout for reply in replies} == {hostile.encode()}
    assert (await other.run(("cat",), b"text")).stdout == b"text"
    assert (await other.run(("sh", "-c", "exit 7"))).status == 7
    assert _connections(own_login_node) == 1
    await one.close()
    assert (await other.run(("true",))).status == 0


@pytest.fixture
def strange(login: Login, tmp_path: Path) -> dict[str, str]:
    """A key that nobody knows, and known hosts that do not know this one."""
    key, hosts = tmp_path / "other", tmp_path / "hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    hosts.write_text(f"[{HOST}]:{login.port} {key.with_suffix('.pub').read_text()}")
    return {"key_file": str(key), "known_hosts": str(hosts)}


@pytest.mark.parametrize("changed", ["key_file", "known_hosts"])
async def test_who_was_never_let_in_fails_at_once_and_says_what_to_do(
    login: Login, strange: dict[str, str], changed: str
) -> None:
    transport = make_transport(replace(login, extra={**login.extra, changed: strange[changed]}), {})
    with pytest.raises(errors.LoginRequired, match=r"refuses the login \(.*\); log in once on this host: ssh -o"):
        await transport.run(("true",))


async def test_a_login_that_ran_out_is_waited_for_and_not_hammered(
    login: Login, own_login_node: LoginNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport: Any = make_transport(login, {})
    await transport.run(("true",))
    keys = own_login_node.folder / "authorized_keys"
    known = keys.read_bytes()
    keys.write_text("")
    own_login_node.drop_sessions()
    words = await _lost(transport)
    assert "log in once on this host" in words or "cannot be reached" in words
    assert "log in once on this host" in await _lost(transport)
    keys.write_bytes(known)
    assert "log in once on this host" in await _lost(transport)  # nobody knocks so soon after a refusal
    monkeypatch.setattr(transport._breaker, "_until", 0.0)
    assert (await transport.run(("true",))).status == 0


async def _lost(transport: Transport) -> str:
    with pytest.raises(errors.ConnectionLost) as caught:
        await transport.run(("true",))
    return str(caught.value)


async def test_a_node_that_is_away_is_a_lost_connection(login: Login, own_login_node: LoginNode) -> None:
    transport = make_transport(login, {})
    await transport.run(("true",))
    own_login_node.stop()
    assert "slurm_main cannot be reached" in await _lost(transport)
    own_login_node.start()
    async with asyncio.timeout(60):
        while not await _answers(transport):  # it rests for a moment after each attempt
            await asyncio.sleep(0.05)


async def _answers(transport: Transport) -> bool:
    try:
        return (await transport.run(("true",))).status == 0
    except errors.ConnectionLost:
        return False


@pytest.mark.parametrize("length", [90, 200])
async def test_a_control_socket_that_cannot_be_is_told_at_once(login: Login, length: int) -> None:
    path = login.extra["control_path"].replace("%C", "x" * length)
    transport = make_transport(replace(login, extra={**login.extra, "control_path": path}), {})
    with pytest.raises(errors.LoginRequired, match=r"too long.*correct `control_path`"):
        await transport.run(("true",))


async def test_a_destination_is_never_an_option(login: Login) -> None:
    with pytest.raises(errors.SetupError, match="names no host"):
        make_transport(replace(login, host="-oProxyCommand=x", user=None), {})
