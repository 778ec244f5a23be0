"""Real processes for tests: hubs, robots and whatever else, on free ports."""

import contextlib
import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

ROOT = Path(__file__).parents[1]
WITHIN = 30.0
ARTIFACTS = Path(__file__).parents[1] / "artifacts"


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no outgoing connection: one that is tried again and
    again while its server is away would otherwise be given to the very client that tries it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], Any], what: str, within: float = WITHIN) -> Any:
    """The condition's first true value. Fails, naming `what`, when it does not become true in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if value := condition():
                return value
        time.sleep(0.05)
    raise AssertionError(f"not within {within:g} s: {what}")


class Running:
    """A process of ours, its output in a file, and everything that it started."""

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        name: str,
        environment: dict[str, str] | None = None,
        *,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                arguments,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
            )

    def family(self) -> list[psutil.Process]:
        """All processes that live because of this one."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 15.0) -> int:
        """Ask it to end; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"did not stop within {within:g} s:\n{self.output()}") from None
        return self.process.returncode

    def output(self) -> str:
        """What it said."""
        return self.log.read_text(errors="replace")


class HubProcess(Running):
    """`botyard hub` on free ports, with its data in `folder`; or another `module` that takes the same arguments."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any] | None = None,
        *,
        ready: bool = True,
        module: str = "botyard.cli.entry",
        environment: dict[str, str] | None = None,
    ) -> None:
        self._module, self._environment = module, environment
        self.port, self.broker_port = free_port(), free_port()
        settings = settings or {}
        merged: dict[str, Any] = {
            **settings,
            "web": {"port": self.port, **settings.get("web", {})},
            "broker": settings.get("broker") or {"port": self.broker_port},
        }
        self.broker_url = merged["broker"].get("url") or f"mqtt://127.0.0.1:{self.broker_port}"
        (folder / "config.yaml").write_text(yaml.safe_dump(merged))
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = httpx.Client(base_url=self.url, timeout=20)
        self.folder = folder
        self.start(ready=ready)

    def start(self, *, ready: bool = True) -> None:
        """Start, or start again on the same ports and data, and wait until it is ready if so wished."""
        arguments = [sys.executable, "-m", self._module, "hub", "--config", "config.yaml"]
        super().__init__(arguments, self.folder, "hub", self._environment)
        if not ready:
            return
        try:
            wait_until(self._ready, "the hub is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the hub ended with code {self.process.returncode}:\n{self.output()}")
        return self.api.get("/readyz").status_code == 200

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at `/api/v1/<path>`."""
        answer = self.api.get(
            f"/api/v1/{path}", params={key: value for key, value in query.items() if value is not None}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def all_items(self, path: str, **query: Any) -> list[Any]:
        """All pages of a listing."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Mosquitto:
    """A real Mosquitto on a free port, to be started and stopped at will."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._folder = folder
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._running: Running | None = None

    def configure(self, *lines: str) -> None:
        """Add lines about the listener to its configuration, and let it read this user's files."""
        user = f"user {getpass.getuser()}"  # as root it would become another
        self._config.write_text("\n".join([self._config.read_text(), *lines, user]) + "\n")

    def start(self) -> None:
        """Start, and wait until it answers."""
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._running = Running([binary, "-c", str(self._config)], self._folder, self._config.stem)
        wait_until(lambda: answers(self.port), "Mosquitto answers")

    def kill(self) -> None:
        """As a power cut would, if it runs."""
        if self._running:
            self._running.kill()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._running:
            self._running.stop()
