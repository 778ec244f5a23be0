"""Everything that a campaign harms: PostgreSQL, broker, hub, robots, and proxies on the wires between them.

Whoever ends by itself is started again, as an operating system does it; that is noted.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import yaml

from tests.chaos.control import Control
from tests.chaos.counting import CONTROL, JOURNAL, NEXT
from tests.chaos.journal import Book, Journal
from tests.chaos.plan import Setting
from tests.chaos.proxy import Proxy
from tests.chaos.wire import Wire
from tests.postgres import PostgresServer
from tests.processes import HubProcess, Mosquitto, Running, wait_until

ROOT = Path(__file__).parents[2]
SHIFTED = "tests.chaos.shifted"

# Where processes find this repository's tests, beside what was set already.
PYTHONPATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

# What each robot writes: how durable its outbox is, and samples per message. The last has little room.
ROBOTS: dict[str, dict[str, Any]] = {
    "alpha": {"durability": "each", "size": 1},
    "beta": {"durability": "each", "size": 5},
    "gamma": {"durability": "group", "size": 10},
    "delta": {"durability": "group", "size": 1, "max_messages": 100},
}

# Who ended by itself is started again after so many seconds.
RESTART_AFTER = 0.5


class Robot:
    """One robot: its settings, its journal, its clock, and the process that runs now."""

    def __init__(self, name: str, folder: Path, link: dict[str, Any]) -> None:
        self.name = name
        self.disk_limits: dict[int, tuple[int, int]] = {}
        self.book = Book(name, ROBOTS[name]["durability"])
        self.journal = Journal(self.book, folder)
        self._folder = folder
        self._file = folder / f"{name}.yaml"
        self._control_file = folder / f"{name}.control"
        self.control = Control.create(self._control_file)
        self.running: Running | None = None
        self._write_settings(link)

    def _write_settings(self, link: dict[str, Any]) -> None:
        kind = ROBOTS[self.name]
        outbox = {key: kind[key] for key in ("durability", "max_messages") if key in kind}
        settings = {
            "robot": self.name,
            "plugins": ["tests.chaos.counting"],
            "drivers": {"counting": {"options": {"size": kind["size"]}}},
            "telemetry": {"max_samples": kind["size"], "max_age": 0.5},
            "outbox": outbox,
            "link": link | {"reconnect_max": 0.5, "resend_after": 1.0, "keepalive": 4, "time_period": 5.0},
        }
        self._file.write_text(yaml.safe_dump(settings))

    def start(self) -> None:
        """Start it; it goes on counting where its last life was cut off."""
        self.journal.begin_life()
        environment = {
            "PYTHONPATH": PYTHONPATH,
            JOURNAL: str(self.journal.writing),
            CONTROL: str(self._control_file),
            NEXT: f"{self.book.next_number} {self.book.next_mark}",
        }
        command = [sys.executable, "-m", SHIFTED, "run", str(self._file), "--until-done"]
        self.running = Running(command, self._folder, self.name, environment, pass_fds=(self.journal.writing,))

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.running is not None and self.running.process.poll() is None

    def close(self) -> None:
        """End everything about it."""
        if self.running is not None and self.alive:
            self.running.kill()
        self.journal.close()


class World:
    """Runs while its `with` lasts. `folder` is kept as it is at the end."""

    def __init__(self, setting: Setting, folder: Path, seed: int) -> None:
        self.setting = setting
        self.folder = folder
        self.seed = seed
        self.robots: dict[str, Robot] = {}
        self.proxies: dict[str, Proxy] = {}
        self.wire = Wire()
        self.ended: list[str] = []
        self.restarts: Counter[str] = Counter()
        self.hub: HubProcess
        self.postgres: PostgresServer | None = None
        self.mosquitto: Mosquitto | None = None
        self.away: set[str] = set()  # who was killed and is not to be started yet
        self._restart_at: dict[str, float] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        hub_folder = self.folder / "hub"
        hub_folder.mkdir()
        settings: dict[str, Any] = {"store": {}, "ingest": {}}
        if self.setting.store == "postgres":
            self.postgres = PostgresServer()
            stack.callback(self.postgres.close)
            settings["store"]["url"] = self.postgres.url(self.postgres.create())
        if self.setting.broker == "mosquitto":
            self.mosquitto = Mosquitto(self.folder)
            stack.callback(self.mosquitto.stop)
            self.mosquitto.start()
            proxy = self._proxy(stack, "hub", self.mosquitto.port)
            settings["broker"] = {"url": f"mqtt://127.0.0.1:{proxy.port}"}
        control_file = self.folder / "hub.control"
        self.hub_control = Control.create(control_file)
        environment = {"PYTHONPATH": PYTHONPATH, CONTROL: str(control_file)}
        self.hub = HubProcess(hub_folder, settings, module=SHIFTED, environment=environment)
        stack.callback(self._end_hub)
        broker = self.mosquitto.port if self.mosquitto else self.hub.broker_port
        if "robots" in self.setting.wires:
            self._proxy(stack, "robots", broker, lambda message: self.wire.take(message, time.monotonic()))
        if "websocket" in self.setting.wires:
            self._proxy(stack, "websocket", self.hub.port)
        for rank, name in enumerate(self.setting.robots):
            robot = self.robots[name] = Robot(name, self.folder, self._link(rank))
            stack.callback(robot.close)
            robot.start()

    def _proxy(
        self, stack: contextlib.ExitStack, wire: str, port: int, heard: Callable[..., None] = lambda _: None
    ) -> Proxy:
        proxy = Proxy(port, mqtt=wire != "websocket", seed=self.seed, on_publish=heard)
        self.proxies[wire] = stack.enter_context(proxy)
        return proxy

    def _link(self, rank: int) -> dict[str, Any]:
        """How a robot reaches the hub. Of two ways every other robot prefers the other."""
        schemes = {"robots": "mqtt", "websocket": "ws"}
        ways = [f"{schemes[wire]}://127.0.0.1:{proxy.port}" for wire, proxy in self.proxies.items() if wire in schemes]
        ordered = [ways[(rank + place) % len(ways)] for place in range(len(ways))]
        return {"transports": [{"url": url} for url in ordered], "connect_within": 6.0, "return_after": 3.0}

    def _end_hub(self) -> None:
        self.hub.api.close()
        if self.hub.process.poll() is None:
            family = self.hub.family()
            self.hub.kill()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    # --- who runs

    def tend(self) -> None:
        """Start again who ended by itself."""
        now = time.monotonic()
        ended = {name: robot.running for name, robot in self.robots.items() if not robot.alive}
        if self.hub.process.poll() is not None:
            ended["hub"] = self.hub
        for name, running in ended.items():
            if name in self.away or running is None:
                continue
            if name not in self._restart_at:
                self._restart_at[name] = now + RESTART_AFTER
                self._note_end(name, running)
            elif now >= self._restart_at[name]:
                self.start(name)

    def _note_end(self, name: str, running: Running) -> None:
        robot = self.robots.get(name)
        if robot is not None and robot.control.ending and running.process.returncode == 0:
            self.away.add(name)  # it has done everything
            return
        self.restarts[name] += 1
        last = (running.output().strip().splitlines() or ["it said nothing"])[-1]
        self.ended.append(f"{name} ended with code {running.process.returncode}: {last}")

    def start(self, name: str) -> None:
        """Start the hub, a robot, PostgreSQL or Mosquitto (again)."""
        self.away.discard(name)
        self._restart_at.pop(name, None)
        if name == "hub":
            self.hub.start(ready=False)
        elif name == "postgres" and self.postgres:
            self.postgres.start()
        elif name == "broker" and self.mosquitto:
            self.mosquitto.start()
        elif name in self.robots:
            self.robots[name].start()

    def kill(self, name: str) -> bool:
        """Kill the hub, a robot, PostgreSQL or Mosquitto, which stays away until `start`; False when it did not run."""
        if name in self.away:
            return False
        self.away.add(name)
        if name == "hub":
            alive = self.hub.process.poll() is None
            self.hub.kill()
            return alive
        if name == "postgres" and self.postgres:
            self.postgres.kill()
            return True
        if name == "broker" and self.mosquitto:
            self.mosquitto.kill()
            return True
        robot = self.robots[name]
        alive = robot.alive
        if robot.running is not None:
            robot.running.kill()
        return alive

    def children(self, *, broker: bool) -> list[psutil.Process]:
        """The hub's broker, or its helpers, as they run now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = []
            for process in self.hub.family()[1:]:
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    words = " ".join(process.cmdline())
                    if words and ("nats-server" in words) is broker:
                        found.append(process)
            return sorted(found, key=lambda process: process.pid)
        return []

    # --- disks

    def fill_disk(self, name: str) -> Callable[[], None]:
        """Let files of a robot, or of the hub's helpers, grow no more (`RLIMIT_FSIZE`); gives what frees the disk."""
        robot = self.robots.get(name)
        if robot is None:
            pids = [process.pid for process in self.children(broker=False)]
        else:
            pids = [robot.running.process.pid] if robot.running and robot.alive else []
        for pid in pids:
            _limit_files(pid, 0)

        def free() -> None:
            for pid in pids:
                _limit_files(pid, resource.RLIM_INFINITY)

        return free

    # --- questions

    def ready(self) -> bool:
        """Whether the hub answers."""
        with contextlib.suppress(httpx.TransportError):
            return self.hub.process.poll() is None and self.hub.api.get("/readyz").status_code == 200
        return False

    def stop_hub(self) -> None:
        """Ask the hub to end; it has to end well."""
        code = self.hub.stop(signal.SIGTERM, within=40.0)
        assert code == 0, f"the hub ended with code {code}:\n{self.hub.output()[-3000:]}"

    def restart_hub(self) -> None:
        """Kill the hub once more, so that what is read afterwards has been on the disk."""
        self.kill("hub")
        self.start("hub")
        wait_until(self.ready, "the hub is ready", 60.0)

    @property
    def store_url(self) -> str:
        """Where the store is."""
        config = yaml.safe_load((self.hub.folder / "config.yaml").read_text())
        return str(config["store"].get("url") or f"sqlite:///{self.hub.folder}/data/botyard.db")

    def positions(self) -> list[Any]:
        """How far the store says that it has come; the hub must have ended."""
        from botyard.store.factory import open_store

        async def read() -> list[Any]:
            async with open_store(self.store_url) as store:
                return await store.positions()

        return asyncio.run(read())


def _limit_files(pid: int, size: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
