"""The campaign: robots that count, a network that is bad, and processes that are killed at random moments.

Afterwards nothing may be missing and nothing may be there twice: the numbers of each life of each driver are 0, 1, 2, …
without a gap, each once, and so are its events. What a life had not yet handed to its outbox when it was killed is its
own end, and no gap. One robot writes its outbox in groups: what it had sent before it was on its disk may have a gap
when it is killed, and then the hub has its word for it, in an event `outbox.dropped`.
"""

import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.chaos.counting import MARK_EVERY
from tests.chaos.proxy import Proxy
from tests.processes import HubProcess, Running, wait_until

ROOT = Path(__file__).parents[2]
ROBOTS = {"alpha": "each", "beta": "each", "gamma": "group"}  # and how durable their outboxes are
DRAINED_WITHIN = 120.0


class Campaign:
    """Hub, broker, proxy and robots of one campaign. Everything that happens comes from the seed."""

    def __init__(self, seed: int, folder: Path, say: Callable[[str], None] = print) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._say = say
        self._edges: dict[str, Running] = {}
        self.kills = 0

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Start everything, and end it afterwards."""
        hub_folder = self._folder / "hub"
        hub_folder.mkdir()
        self._hub = HubProcess(hub_folder)
        try:
            with Proxy(self._hub.broker_port) as self._proxy:
                for robot in ROBOTS:
                    self._start_edge(robot)
                yield
                for edge in self._edges.values():
                    edge.stop()
        finally:
            for edge in self._edges.values():
                if edge.process.poll() is None:
                    edge.kill()
            self._hub.api.close()
            self._hub.stop()

    def _start_edge(self, robot: str) -> None:
        file = self._folder / f"{robot}.yaml"
        link = {"url": f"mqtt://127.0.0.1:{self._proxy.port}", "reconnect_max": 0.5, "resend_after": 1.0}
        settings: dict[str, Any] = {"robot": robot, "plugins": ["tests.chaos.counting"], "drivers": {"counting": {}}}
        settings |= {"telemetry": {"max_age": 0.1}, "outbox": {"durability": ROBOTS[robot]}}
        file.write_text(yaml.safe_dump({**settings, "link": {**link, "keepalive": 4}}))
        command = [sys.executable, "-m", "botyard_edge.cli", "run", str(file)]
        self._edges[robot] = Running(command, self._folder, robot, {"PYTHONPATH": str(ROOT)})

    # --- what happens

    def run(self, kills: int) -> None:
        """Do bad things until so many processes have been killed."""
        actions = (
            self._kill_hub,
            self._kill_broker,
            self._kill_edge,
            self._kill_edge,
            self._cut,
            self._hold,
            self._delay,
        )
        while self.kills < kills:
            time.sleep(self._random.uniform(0.1, 1.5))
            self._random.choice(actions)()
        self._proxy.heal()

    def _kill_hub(self) -> None:
        self._tell("kill the hub")
        self._hub.kill()
        time.sleep(self._random.uniform(0.0, 0.5))
        self._hub.start()

    def _kill_broker(self) -> None:
        brokers = [one for one in self._hub.family() if "nats-server" in " ".join(one.cmdline())]
        if brokers:
            self._tell("kill the broker")
            with contextlib.suppress(psutil.NoSuchProcess):
                brokers[0].kill()

    def _kill_edge(self) -> None:
        robot = self._random.choice(list(ROBOTS))
        self._tell(f"kill {robot}")
        self._edges[robot].kill()
        time.sleep(self._random.uniform(0.0, 0.3))
        self._start_edge(robot)

    def _tell(self, what: str) -> None:
        self.kills += 1
        self._say(f"{self.kills:4} {what}")

    def _cut(self) -> None:
        self._proxy.cut()
        time.sleep(self._random.uniform(0.1, 1.5))
        self._proxy.heal()

    def _hold(self) -> None:
        self._proxy.hold()
        time.sleep(self._random.uniform(0.1, 2.0))
        self._proxy.heal()

    def _delay(self) -> None:
        self._proxy.delay(self._random.uniform(0.01, 0.3))

    # --- what has to be true

    def settle(self) -> None:
        """Wait until every robot is online and its outbox is empty, and stop them."""
        for robot in ROBOTS:
            wait_until(partial(self._drained, robot), f"{robot} has nothing left to send", DRAINED_WITHIN)
        for edge in self._edges.values():
            assert edge.stop() == 0, edge.output()

    def _drained(self, robot: str) -> bool:
        status = self._hub.get(f"robots/{robot}")["status"]
        link = (status["state"] or {}).get("link")
        fresh = status["state_ts"] is not None and time.time() - status["state_ts"] / 1e6 < 15
        return bool(status["presence"]["status"] == "online" and fresh and link and link["backlog"] < 10)

    def check(self) -> dict[str, int]:
        """Compare what is in the store with what it has to be; gives how much was looked at."""
        found: Counter[str] = Counter()
        for robot, durability in ROBOTS.items():
            events = self._hub.all_items("events", robot=robot, limit=5000)
            excused = sum(event["name"] == "outbox.dropped" for event in events) if durability == "group" else 0
            for channel in self._hub.get(f"robots/{robot}/channels")["items"]:
                if channel["name"].startswith("count."):
                    numbers = self._numbers(robot, channel["name"])
                    found["lives"] += 1
                    found["samples"] += len(numbers)
                    excused -= _gap(robot, channel["name"], numbers, allowed=excused > 0)
            by_life: dict[str, list[int]] = {}
            for event in events:
                if event["name"] == "count.mark":
                    by_life.setdefault(event["data"]["life"], []).append(event["data"]["n"])
            for life, marks in by_life.items():
                found["events"] += len(marks)
                _gap(robot, f"marks of {life}", sorted(n // MARK_EVERY for n in marks), allowed=durability == "group")
        counters = self._hub.get("hub")["counters"]
        assert not [name for name in counters if name.startswith("refused")], counters
        return dict(found)

    def _numbers(self, robot: str, channel: str) -> list[int]:
        items = self._hub.all_items("readings", robot=robot, channel=channel, limit=10_000)
        return sorted(item["value"] for item in items)


def _gap(robot: str, what: str, numbers: list[int], *, allowed: bool) -> bool:
    """Whether numbers are missing; fails when that is not allowed, and when one is there twice."""
    double = sorted(number for number, times in Counter(numbers).items() if times > 1)
    missing = sorted(set(range(max(numbers) + 1)) - set(numbers))
    told = f"{robot}, {what}: {len(numbers)} numbers, missing {missing[:20]}, there twice {double[:20]}"
    assert not double, told
    assert allowed or not missing, told
    return bool(missing)
