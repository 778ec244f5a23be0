"""The campaign: robots that count, and faults that come as the plan says. Afterwards nothing may be missing and nothing
may be there twice.

What a robot issued is known from a journal that its driver and its outbox write (`journal`), and from what was seen on
the wire; what is stored is read through the API, from a hub that was killed once more. `ledger` compares the two.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.chaos.counting import CHANNEL, MARK
from tests.chaos.ledger import GIVEN_UP, Found, Position, Problem, Told, Verdict, judge
from tests.chaos.mangler import Mangling
from tests.chaos.plan import Fault
from tests.chaos.world import World

RECOVERED_WITHIN = 45.0
DRAINED_WITHIN = 180.0
# How long a fault waits for its victim, which may just be on its way.
VICTIM_WITHIN = 15.0
PROGRESS_EVERY = 10.0
STEP = 0.02


@dataclass(slots=True)
class Result:
    """What came out of a campaign. Times in seconds."""

    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    in_vain: int = 0
    recovery: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    slow: list[str] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    traffic: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Ending:
    """What ends a fault, and when."""

    at: float
    fault: Fault
    undo: Callable[[], None]


class Campaign:
    """Plays a plan in a world. `say` gets a line for whatever happens."""

    def __init__(self, world: World, plan: tuple[Fault, ...], say: Callable[[str], None]) -> None:
        self.result = Result()
        self._world = world
        self._plan = plan
        self._say = say
        self._began = time.monotonic()
        self._told = self._began
        self._happened: list[tuple[float, Fault]] = []
        self._endings: list[_Ending] = []

    # --- what happens

    def run(self) -> None:
        """Let all faults of the plan happen, once everything works."""
        self._recover(None)
        for fault in self._plan:
            self._pass(fault.after)
            if fault.calm:
                self._end_all()
                self._recover(None)
            self._strike(fault)
            if fault.calm:
                self._end_all(after=fault.lasts)
                self._recover(fault)
        self._end_all()

    def _strike(self, fault: Fault) -> None:
        self._happened.append((time.monotonic(), fault))
        undo = self._act(fault)
        struck = undo is not None
        self.result.faults[fault.kind] += struck
        self.result.kills += struck and fault.kills
        self.result.in_vain += not struck
        self._say(f"{self._time()} {self.result.kills:4} {fault}{'' if struck else ': nobody was there'}")
        if undo is not None:
            self._endings.append(_Ending(time.monotonic() + fault.lasts, fault, undo))

    def _act(self, fault: Fault) -> Callable[[], None] | None:
        """Do it; gives what ends it, None when it could not be done."""
        world = self._world
        proxy = world.proxies.get(fault.target)
        match fault.kind:
            case "kill robot" | "kill hub" | "kill postgres":
                return self._kill({"kill postgres": "postgres"}.get(fault.kind, fault.target))
            case "kill broker":
                return self._kill("broker") if world.mosquitto else self._kill_child(fault, broker=True)
            case "kill helper":
                return self._kill_child(fault, broker=False)
            case "clock":
                robot = world.robots.get(fault.target)
                control = robot.control if robot else world.hub_control
                control.shift = int(fault.amount * 1e6)
                return _nothing
            case "disk full":
                return world.fill_disk(fault.target)
        assert proxy is not None
        match fault.kind:
            case "cut":
                proxy.cut()
                return partial(proxy.cut, cut=False)
            case "hold":
                proxy.hold()
                return partial(proxy.hold, hold=False)
            case "delay":
                proxy.delay(fault.amount)
                return partial(proxy.delay, 0.0)
            case "duplicate":
                proxy.mangle(Mangling(fault.amount, proxy.mangling.reorder))
                return lambda: proxy.mangle(Mangling(0.0, proxy.mangling.reorder))
            case "reorder":
                proxy.mangle(Mangling(proxy.mangling.duplicate, fault.amount))
                return lambda: proxy.mangle(Mangling(proxy.mangling.duplicate, 0.0))
            case "echo":
                proxy.echo(int(fault.amount))
                return _nothing
        raise AssertionError(fault.kind)

    def _kill(self, name: str) -> Callable[[], None] | None:
        self._end_kills_of(name)
        if not self._world.kill(name):
            self._world.start(name)
            return None
        return partial(self._world.start, name)

    def _kill_child(self, fault: Fault, *, broker: bool) -> Callable[[], None] | None:
        deadline = time.monotonic() + VICTIM_WITHIN
        while not (children := self._world.children(broker=broker)):
            if time.monotonic() > deadline:
                return None
            self._pass(0.1)
        child = children[min(int(fault.amount * len(children)), len(children) - 1)]
        child.kill()
        return _nothing

    # --- time

    def _pass(self, seconds: float) -> None:
        """Let time pass, and do meanwhile what is due."""
        until = time.monotonic() + seconds
        while True:
            self._tend()
            if time.monotonic() >= until:
                return
            time.sleep(STEP)

    def _tend(self) -> None:
        now = time.monotonic()
        for ending in [ending for ending in self._endings if ending.at <= now]:
            self._endings.remove(ending)
            ending.undo()
        self._world.tend()
        if now - self._told > PROGRESS_EVERY:
            self._told = now
            self._say(f"{self._time()}      {self._progress()}")

    def _end_all(self, after: float = 0.0) -> None:
        """End everything that still lasts, `after` so many seconds."""
        self._pass(after)
        endings, self._endings = self._endings, []
        for ending in endings:
            ending.undo()

    def _end_kills_of(self, name: str) -> None:
        """Who is to be killed and is still away from the last time is brought back first."""
        for ending in list(self._endings):
            if ending.fault.kills and name in self._world.away:
                victim = {"kill postgres": "postgres", "kill broker": "broker"}.get(
                    ending.fault.kind, ending.fault.target
                )
                if victim == name:
                    self._endings.remove(ending)
                    ending.undo()

    def _recover(self, fault: Fault | None) -> None:
        """Wait until what every robot says after this moment is acknowledged, and with it everything before."""
        began = time.monotonic()
        waiting = set(self._world.robots)
        while waiting and time.monotonic() - began < RECOVERED_WITHIN:
            self._pass(STEP)
            waiting -= {name for name in waiting if self._has_news(name, began)}
        took = time.monotonic() - began
        if waiting:
            told = f"{fault or 'before the next fault'}: {', '.join(sorted(waiting))}"
            self.result.slow.append(told)
            self._say(f"{self._time()}      not recovered within {RECOVERED_WITHIN:g} s after {told}")
        elif fault is not None:
            self.result.recovery[fault.kind].append(took)

    def _has_news(self, name: str, since: float) -> bool:
        book = self._world.robots[name].book
        for issued in reversed(book.issued[-2000:]):
            if issued.seq <= book.acknowledged:
                return issued.at > since
        return False

    def _time(self) -> str:
        return f"{time.monotonic() - self._began:7.1f} s"

    def _progress(self) -> str:
        books = [robot.book for robot in self._world.robots.values()]
        issued = sum(len(book.issued) for book in books)
        lives = sum(len(book.lives) for book in books)
        behind = {book.robot: sum(one.seq > book.acknowledged for one in book.issued[-5000:]) for book in books}
        waiting = ", ".join(f"{robot} {count}" for robot, count in behind.items())
        return f"{issued} messages issued in {lives} lives; not acknowledged: {waiting}"

    # --- what has to be true

    def settle(self) -> None:
        """Let all drivers come to their end, and wait until the hub has everything and every robot ended by itself."""
        for proxy in self._world.proxies.values():
            proxy.heal()
        for robot in self._world.robots.values():
            robot.control.end()
        deadline = time.monotonic() + DRAINED_WITHIN
        while left := [name for name, robot in self._world.robots.items() if not self._done(name)]:
            if time.monotonic() > deadline:
                tails = "\n".join(f"{name}: {_tail(self._world, name)}" for name in [*left, "hub"])
                raise AssertionError(
                    f"not within {DRAINED_WITHIN:g} s: everything is sent ({self._progress()})\n{tails}"
                )
            self._pass(0.1)
        for robot in self._world.robots.values():
            robot.journal.sync()

    def _done(self, name: str) -> bool:
        robot = self._world.robots[name]
        return name in self._world.away and not robot.alive and bool(robot.book.lives) and robot.book.lives[-1].ended

    def check(self) -> list[Problem]:
        """Compare what is stored with what was issued."""
        world, result = self._world, self.result
        world.restart_hub()
        found = {name: self._found(name) for name in world.robots}
        result.refused = [
            f"{item['robot']}: {item['reason']}: {item['detail']}" for item in world.hub.all_items("quarantine")
        ]
        world.stop_hub()
        for position in world.positions():
            if position.robot in found:
                found[position.robot].positions[position.epoch] = Position(position.seq, not position.beyond)
        problems = []
        for name, robot in world.robots.items():
            verdict = judge(robot.book, found[name], world.wire.seen.get(name, {}))
            result.verdicts[name] = verdict
            problems += verdict.problems
        result.problems += [f"{problem}; before that: {self._before(problem.at)}" for problem in problems]
        result.problems += world.wire.conflicts
        result.problems += [f"refused: {refused}" for refused in result.refused]
        result.problems += [ended for ended in world.ended if not ended.startswith("hub ")]
        for proxy in world.proxies.values():
            result.traffic += proxy.counts
        result.traffic["sent again"] += world.wire.repeated
        return problems

    def _found(self, robot: str) -> Found:
        found = Found()
        hub = self._world.hub
        for item in hub.all_items("readings", robot=robot, channel=CHANNEL, limit=10_000):
            found.samples[int(item["value"])] += 1
        for event in hub.all_items("events", robot=robot, limit=5000):
            if event["name"] == MARK:
                found.marks[event["data"]["n"]] += 1
            elif event["name"] in ("outbox.dropped", GIVEN_UP):
                found.told += _told(event)
        return found

    def _before(self, at: float | None) -> str:
        """The fault before a moment, for people who look for a cause."""
        before = [(then, fault) for then, fault in self._happened if at is not None and then <= at]
        if not before:
            return "no fault"
        then, fault = before[-1]
        return f"{(at or then) - then:.2f} s earlier, fault {fault.number}: {fault}"


def _told(event: dict[str, Any]) -> list[Told]:
    data = event["data"]
    reason = GIVEN_UP if event["name"] == GIVEN_UP else str(data["reason"])
    return [Told(data["epoch"], first, last, reason) for first, last in data["ranges"]]


def _tail(world: World, name: str) -> str:
    running = world.hub if name == "hub" else world.robots[name].running
    return running.output()[-1500:] if running else ""


def _nothing() -> None:
    pass
