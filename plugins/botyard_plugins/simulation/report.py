"""What came of a simulation."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from botyard.store.base import Store, StoredEvent
from botyard.web.models import EventView
from botyard_plugins.simulation.scenario import Fault, Scenario

PAGE = 1000


class Invariant(msgspec.Struct, frozen=True):
    """Something that must hold whatever happens, and where it did not."""

    name: str
    violations: list[str]

    @property
    def holds(self) -> bool:
        """Whether it held everywhere."""
        return not self.violations


class Pace(msgspec.Struct, frozen=True):
    """How well a process held real time: how late its loop was, in seconds (median, 99 of 100, longest), the CPU
    seconds that it took, and by how many MiB it grew for each robot (None where the system does not tell)."""

    late: float
    late_99: float
    late_max: float
    cpu: float
    memory: float | None = None


class Report(msgspec.Struct, frozen=True):
    """What was injected, what the fleet did, and which invariants held. `seconds` are the fleet's own; `commands` are
    counted by how they ended, and `driven` is how far all robots together really moved, in metres. `pace` is that of a
    run in real time."""

    scenario: str
    seed: int
    robots: int
    seconds: float
    messages: int
    copies: int
    samples: int
    faults: dict[str, int]
    commands: dict[str, int]
    driven: float
    events: dict[str, int]
    invariants: list[Invariant]
    pace: Pace | None = None

    @property
    def ok(self) -> bool:
        """Whether all invariants held."""
        return all(invariant.holds for invariant in self.invariants)


def counted(faults: Iterable[Fault]) -> dict[str, int]:
    """How often each kind of fault was injected."""
    return dict(sorted(Counter(fault.what.fault for fault in faults).items()))


def named(happened: Iterable[StoredEvent | EventView]) -> dict[str, int]:
    """How often each event happened."""
    return dict(sorted(Counter(event.name for event in happened).items()))


async def events(store: Store) -> list[StoredEvent]:
    """All events that the hub has, the oldest first."""
    found: list[StoredEvent] = []
    cursor = None
    while True:
        page = await store.events(limit=PAGE, cursor=cursor)
        found += page.items
        if (cursor := page.next) is None:
            return sorted(found, key=lambda event: (event.ts, event.id))


def log(
    scenario: Scenario, start: int, faults: Iterable[Fault], happened: Iterable[StoredEvent], folder: Path
) -> list[bytes]:
    """The log: a line of JSON for each fault and each event, in the order of their time in seconds. It does not say in
    which folder the simulation ran."""
    lines: list[tuple[float, int, dict[str, Any]]] = []
    for fault in faults:
        what = {"fault": fault.what.fault, "robot": f"robot-{fault.robot}", "until": round(fault.until, 6)}
        lines.append((fault.at, 0, what))
    for event in happened:
        told = {"event": event.name, "robot": event.robot, "severity": event.severity}
        told["message"] = event.message and event.message.replace(f"{folder}/", "")
        lines.append(((event.ts - start) / 1e6, 1, {**told, "data": event.data}))
    lines.sort(key=lambda line: line[:2])
    head = {"scenario": scenario.name, "robots": scenario.robots, "seconds": scenario.seconds}
    return [msgspec.json.encode(head), *(msgspec.json.encode({"at": round(at, 6), **what}) for at, _, what in lines)]
