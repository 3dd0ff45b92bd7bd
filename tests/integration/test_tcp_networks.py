"""wherryd on TCP: connections that break, networks of their own, and containers that go from one to the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

import wherry
from tests.support import leaks
from tests.support.daemon import make_environment
from tests.support.eventually import SLOW, eventually
from tests.support.tcp import Tcp
from wherry import errors
from wherry.model import request as req

pytestmark = pytest.mark.requires("openssl")


@pytest.fixture
def make_tcp(no_leaks: None, tmp_path: Path) -> Iterator[Callable[..., Tcp]]:
    """Return a function that starts a daemon on TCP, of which a test may kill what it wants."""
    before = tuple(leaks.take(containers=False).children)
    with ExitStack() as stack:

        def make(**options: object) -> Tcp:
            made = Tcp(tmp_path / "tcp", **options)  # type: ignore[arg-type]
            stack.callback(made.daemon.destroy, before)
            made.daemon.start()
            return made

        yield make


def test_clients_come_back_to_a_daemon_that_was_killed(make_tcp: Callable[..., Tcp]) -> None:
    tcp = make_tcp()
    # The next life is to have the same port.
    port = tcp.port
    tcp.daemon.arguments[1] = f"tcp://127.0.0.1:{port}"
    script = "echo one; read line; echo two; exit 3"
    argv = [sys.executable, "-m", "wherry.cli", "logs", "-f", "c1"]
    environment = make_environment(tcp.environment("reader"))
    with tcp.connect("boss") as client:
        container = client.run("host", "sh", "-c", script, id="c1", stdio=wherry.Stdio(stdin_open=True))
        with subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "one\n"
            tcp.daemon.kill()
            with pytest.raises(errors.Unavailable):
                container.info()
            with pytest.raises(errors.Unavailable, match="no daemon answers at .*: Connection refused"):
                tcp.connect("boss")
            tcp.daemon.start()
            assert tcp.port == port

            def is_back() -> bool:
                try:
                    return container.info().state == "running"
                except errors.Unavailable:
                    return False

            assert eventually(is_back, 20)
            with container.attach(offset=-1) as attachment:
                attachment.write(b"\n")
                assert b"".join(output.data for output in attachment) == b"two\n"
            output, words = reader.communicate(timeout=30 * SLOW)
            assert (output, reader.returncode) == ("two\n", 0), words
            assert f"the daemon at {tcp.address} is back" in words
        assert container.wait(10).status == 3
        container.delete()


@pytest.mark.requires("criu", "runc", "overlay", "busybox")
def test_a_container_goes_to_another_daemon_that_lets_its_own_in(
    tcp: Tcp, make_tcp: Callable[..., Tcp], busybox_rootfs: Path
) -> None:
    home = make_tcp(authority=tcp.authority)
    source = req.Source(kind="rootfs", path=str(busybox_rootfs))
    with home.connect("boss") as client, tcp.connect("boss") as there:
        container = client.run(source, "sh", "-c", "echo before; read line; echo after", id="traveller",
                               stdio=wherry.Stdio(stdin_open=True), runtime="runc")  # fmt: skip
        eventually(lambda: container.output() == b"before\n")
        done = home.cli("boss", "migrate", "traveller", "--to", tcp.address)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"traveller: runs at {tcp.address}; ")
        arrived = there.container("traveller")
        with arrived.attach(offset=-1) as attachment:
            attachment.write(b"\n")
            assert b"".join(output.data for output in attachment) == b"after\n"
        assert arrived.wait(10).status == 0
        arrived.delete()
        container.delete(force=True)
    tcp.check_unharmed()


@pytest.mark.requires("netns", "veth")
def test_a_daemon_in_another_network_is_reached_and_another_address_of_it_is_not(
    make_tcp: Callable[..., Tcp],
) -> None:
    with ExitStack() as stack:
        here, there = (stack.enter_context(Network()) for _ in range(2))
        here.run("ip", "link", "add", "wt0", "type", "veth", "peer", "name", "wt1", "netns", str(there.pid))
        here.run("sh", "-ec", "ip addr add 10.77.0.1/24 dev wt0; ip link set wt0 up; ip link set lo up")
        there.run("sh", "-ec", "ip addr add 10.77.0.2/24 dev wt1; ip addr add 10.77.0.3/24 dev wt1; ip link set wt1 up")
        tcp = make_tcp(host="10.77.0.2", port=7443, prefix=there.prefix)
        command = (sys.executable, "-m", "wherry.cli")
        boss = tcp.environment("boss")
        assert here.run(*command, "run", "--rm", "host", "--", "echo", "over there", env=boss) == "over there\n"
        # It listens at that address only; and what listens nowhere is said at once.
        assert "no daemon answers at tcp://10.77.0.3:7443: Connection refused" in here.run(
            *command, "version", env=boss | {"WHERRY_ADDRESS": "tcp://10.77.0.3:7443"}
        )
        # From the network of the tests there is no way, and the unix socket is where it was.
        assert tcp.daemon.cli("ps", "-q").stdout == ""


@pytest.mark.requires("netns", "veth", "criu", "runc", "overlay")
def test_a_sequence_goes_over_a_cable_and_back_without_a_number_missing(make_tcp: Callable[..., Tcp]) -> None:
    program = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done"
    with ExitStack() as stack:
        here, there = (stack.enter_context(Network()) for _ in range(2))
        here.run("ip", "link", "add", "wt0", "type", "veth", "peer", "name", "wt1", "netns", str(there.pid))
        here.run("sh", "-ec", "ip addr add 10.78.0.1/24 dev wt0; ip link set wt0 up; ip link set lo up")
        there.run("sh", "-ec", "ip addr add 10.78.0.2/24 dev wt1; ip link set wt1 up; ip link set lo up")
        home = make_tcp(host="10.78.0.1", port=7443, prefix=here.prefix)
        away = make_tcp(host="10.78.0.2", port=7443, prefix=there.prefix, authority=home.authority)
        # Each is used over its unix socket, which is in no network; the daemons reach each other over the cable.
        with wherry.Sync(home.daemon.address) as one, wherry.Sync(away.daemon.address) as two:
            first = one.run("host", "sh", "-c", program, id="traveller", runtime="runc")
            eventually(lambda: first.output().count(b"\n") > 5)
            done = home.daemon.cli("migrate", "traveller", "--to", away.address)
            assert re.fullmatch(
                rf"traveller: runs at {away.address}; nobody ran it for \d+ ms, [\d.]+kB sent\n", done.stdout
            )
            second = two.container("traveller")
            eventually(lambda: second.output().count(b"\n") > 5)
            assert (first.info().state, first.wait(10).reason) == ("stopped", "migrated")
            here.run("ip", "link", "set", "wt0", "down")
            lost = away.daemon.cli("migrate", "traveller", "--to", home.address)
            assert lost.returncode == 125
            assert f"no daemon answers at {home.address}" in lost.stderr
            before = second.output()
            eventually(lambda: second.output() != before)
            here.run("ip", "link", "set", "wt0", "up")
            log = first.output()
            first.delete()
            assert away.daemon.cli("migrate", "traveller", "--to", home.address).returncode == 0
            back = one.container("traveller")
            eventually(lambda: back.output().count(b"\n") > 5)
            numbers = [int(line) for line in (log + second.output() + back.output()).split()]
            assert numbers == list(range(len(numbers))), "a number is missing, or there twice"
            second.delete()
            back.delete(force=True)


class Network:
    """A network namespace, held by a process."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
        self.pid = self._holder.pid
        self.prefix = ("nsenter", f"--net=/proc/{self.pid}/ns/net")
        ours = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{self.pid}/ns/net") != ours)

    def run(self, *argv: str, env: dict[str, str] | None = None) -> str:
        """Return what a program in there prints."""
        done = subprocess.run(
            [*self.prefix, *argv], capture_output=True, text=True, timeout=40 * SLOW, env=make_environment(env)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.wait()
