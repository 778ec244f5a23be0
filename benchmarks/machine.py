"""The processes of a benchmark: a broker, a hub, and what talks to them."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx

from botyard.transport.embedded import BrokerSettings, EmbeddedBroker


class Listening(NamedTuple):
    """Where a broker is."""

    port: int


@contextlib.asynccontextmanager
async def broker() -> AsyncIterator[Listening]:
    """The broker that the hub embeds, here on its own, so that the baseline gets the same one."""
    with tempfile.TemporaryDirectory() as folder:
        settings = BrokerSettings(host="127.0.0.1", port=0, folder=Path(folder), max_payload=4 * 1024 * 1024)
        async with EmbeddedBroker(settings) as running:
            yield Listening(running.port)


@contextlib.asynccontextmanager
async def mosquitto() -> AsyncIterator[Listening]:
    """A Mosquitto as docs/operators/configuration.md says that one should be set up."""
    binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("\n".join((*lines, "")))
        config.flush()
        running = await asyncio.create_subprocess_exec(binary, "-c", config.name, stderr=asyncio.subprocess.DEVNULL)
        try:
            await _listens(port)
            yield Listening(port)
        finally:
            running.terminate()
            await running.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def process(*module_and_arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m …`, ended at the latest with the block."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *(str(part) for part in module_and_arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
        await started.wait()


async def line(running: asyncio.subprocess.Process) -> str:
    """The next line that a process prints."""
    assert running.stdout
    return (await running.stdout.readline()).decode().strip()


@contextlib.asynccontextmanager
async def hub(broker_port: int) -> AsyncIterator[tuple[str, int]]:
    """A hub process with SQLite on the given broker; gives its address and process id."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "BOTYARD__DATA_DIR": folder,
            "BOTYARD__WEB__PORT": str(port),
            "BOTYARD__BROKER__URL": f"mqtt://127.0.0.1:{broker_port}",
            "BOTYARD__LOG_LEVEL": "error",
        }
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "botyard.cli.entry", "hub", env=environment, cwd=folder
        )
        try:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url) as client:
                await until_ready(client)
            yield url, started.pid
        finally:
            started.terminate()
            await started.wait()


async def until_ready(client: httpx.AsyncClient) -> None:
    """Wait for `/readyz`."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def save(name: str, result: object) -> None:
    """Keep a result in artifacts/bench/."""
    target = Path("artifacts/bench")
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
