"""The embedded broker: a real nats-server, started, watched, restarted and ended."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from botyard.testing import wait_until
from botyard.transport.embedded import (
    FIRST_STARTS,
    MAX_PAYLOAD,
    BrokerError,
    BrokerSettings,
    EmbeddedBroker,
    find_binary,
    leashed,
)


def settings(folder: Path, port: int = 0, **fields: object) -> BrokerSettings:
    return BrokerSettings(**{"host": "127.0.0.1", "port": port, "folder": folder, "max_payload": 1 << 20, **fields})  # type: ignore[arg-type]


async def answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
async def test_broker_runs_on_a_free_port_and_leaves_no_process_behind(tmp_path: Path, host: str) -> None:
    async with EmbeddedBroker(settings(tmp_path, host=host)) as broker:
        assert broker.port > 0
        assert await answers(broker.port, broker.host)
        assert broker.pid
        process = psutil.Process(broker.pid)
        assert "nats-server" in process.name()
        assert (tmp_path / "nats.conf").stat().st_mode & 0o777 == 0o600
    assert not process.is_running()
    assert not await answers(broker.port, broker.host)


async def test_broker_that_cannot_have_its_port_says_so_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError) as refused:
            async with EmbeddedBroker(settings(tmp_path, port)):
                pass
    assert str(refused.value) == (
        f"the embedded broker cannot listen on 127.0.0.1:{port}: Address already in use; another broker may run there: "
        "set broker.port to a free port, or broker.url to that broker"
    )


@pytest.mark.parametrize(("kills", "begins"), [(2, True), (10, False)])
async def test_broker_that_is_killed_while_it_starts_is_started_again_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kills: int, begins: bool
) -> None:
    wrapper, starts = tmp_path / "bin" / "nats-server", tmp_path / "starts"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f"#!/bin/sh\necho >> '{starts}'\n[ $(wc -l < '{starts}') -gt {kills} ] || kill -9 $$\n"
        f"exec '{find_binary()}' \"$@\"\n"
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
    if begins:
        async with EmbeddedBroker(settings(tmp_path)) as broker:
            assert await answers(broker.port)
    else:
        with pytest.raises(BrokerError, match="ended at once"):
            async with EmbeddedBroker(settings(tmp_path)):
                pass
    assert len(starts.read_text().splitlines()) == (kills + 1 if begins else FIRST_STARTS)
    said = [record.getMessage() for record in caplog.records]
    assert sum("starting it again" in line for line in said) == min(kills, FIRST_STARTS - 1)


async def test_broker_that_is_killed_is_started_again_on_its_port_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with EmbeddedBroker(settings(tmp_path)) as broker:
            first, port = broker.pid, broker.port
            assert first
            os.kill(first, signal.SIGKILL)
            await wait_until(lambda: broker.pid not in (None, first) and "is back" in caplog.text)
            assert broker.port == port
            assert await answers(port)
            second = broker.pid
    assert caplog.text.count("ended by itself (exit code -9), starting it again") == 1
    assert caplog.text.count(f"the embedded broker is back on port {port}") == 1
    assert second
    assert not psutil.pid_exists(second)


async def test_broker_takes_the_largest_payload_that_the_hub_asks_for(tmp_path: Path) -> None:
    async with EmbeddedBroker(settings(tmp_path, max_payload=MAX_PAYLOAD)) as broker:
        assert await answers(broker.port)


async def test_broker_that_refuses_its_settings_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"^the embedded broker ended at once: .*max_payload .* cannot be higher"):
        async with EmbeddedBroker(settings(tmp_path, max_payload=4 * MAX_PAYLOAD)):
            pass


async def test_broker_in_a_folder_whose_name_is_not_ascii_starts(tmp_path: Path) -> None:
    async with EmbeddedBroker(settings(tmp_path / "Zürich é 倉庫")) as broker:
        assert await answers(broker.port)


async def test_broker_that_cannot_be_started_again_is_tried_until_it_can_and_each_reason_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.transport.embedded.RESTART_AFTER", (0.01,))
    async with EmbeddedBroker(settings(tmp_path)) as broker:
        start = broker._start
        failures: list[Exception] = [*[OSError("no more processes")] * 3, *[BrokerError("it ended at once: why")] * 3]

        async def fails_at_first() -> None:
            if failures:
                raise failures.pop(0)
            await start()

        monkeypatch.setattr(broker, "_start", fails_at_first)
        assert broker.pid
        os.kill(broker.pid, signal.SIGKILL)
        with caplog.at_level(logging.INFO):
            await wait_until(lambda: "is back" in caplog.text)
        assert await answers(broker.port)
    assert caplog.text.count("no more processes; trying until it starts") == 1
    assert caplog.text.count("it ended at once: why; trying until it starts") == 1


async def test_broker_that_is_not_installed_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BrokerError, match=r"needs nats-server: install it .* or name another broker with broker\.url"):
        async with EmbeddedBroker(settings(tmp_path)):
            pass


def test_broker_of_the_path_is_preferred_to_the_one_that_python_brings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nats-server").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_binary() == str(tmp_path / "nats-server")


@pytest.mark.parametrize(("parent", "said"), [(os.getpid(), "runs"), (1, "")], ids=["alive", "dead"])
def test_leashed_command_of_a_parent_that_is_gone_already_does_not_begin(parent: int, said: str) -> None:
    """A hub that is killed while it starts its broker must not leave it behind: the next one needs the port."""
    setpriv = shutil.which("setpriv")
    assert setpriv, "util-linux is everywhere where Botyard is tested"
    command = leashed(["sh", "-c", 'echo "$0"', "runs"], setpriv, parent)
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == said
