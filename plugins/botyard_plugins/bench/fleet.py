"""The virtual robots of one process: what each of them does when."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from botyard_plugins.bench import mqtt
from botyard_plugins.bench.link import Address, Link
from botyard_plugins.bench.messages import Bodies, Template, presence
from botyard_plugins.bench.outbox import Outbox
from botyard_plugins.bench.pace import Pace
from botyard_plugins.bench.plan import Plan
from botyard_plugins.bench.statistics import Durations
from botyard_schemas import topics
from botyard_schemas.clock import Clock

# As the real edge: what is not acknowledged for so many seconds is sent again, then after twice as long, and so on.
RESEND_AFTER = 5.0
MOST_PATIENT = 3  # doublings
LOOK_EVERY = 0.5
# How irregular sensors are read, in microseconds.
WOBBLE = 1000.0
MAX_STAMP = 2**53 - 1


class _Body(msgspec.Struct):
    epoch: str
    seq: int
    beyond: tuple[tuple[int, int], ...] = ()


class _Ack(msgspec.Struct):
    body: _Body


_decode = msgspec.json.Decoder(_Ack).decode


class Robot:
    """One virtual robot. `heard` is when its hub last made progress; `probe` a message in order, and when it was sent,
    whose acknowledgement tells the delay."""

    __slots__ = ("box", "heard", "id", "last", "link", "old", "pace", "patience", "probe", "probed", "template")

    def __init__(self, robot: str, box: Outbox, template: Template, link: Link, pace: Pace) -> None:
        self.id = robot
        self.box = box
        self.template = template
        self.link = link
        self.old = box.issued  # the messages up to here are those of the outage
        self.last = box.stamps[-1] if box.issued else 0
        self.heard = 0.0
        self.patience = 0
        self.pace = pace
        self.probe = 0
        self.probed = 0.0

    def rewind(self) -> None:
        """Send everything again; what is sent twice tells no delay (Karn's algorithm)."""
        self.box.rewind()
        self.probe = 0


class Totals(msgspec.Struct):
    """Counted since the start, over all robots of the process: messages made, acknowledged, put on the wire; messages
    of the outage that are not acknowledged; robots that heard an acknowledgement; when the last old one was."""

    issued: int = 0
    acked: int = 0
    sent: int = 0
    backlog: int = 0
    met: int = 0
    drained: float | None = None


class Fleet:
    """The robots with the numbers `share` of the plan. `links` are to be run by the owner, and `pump` called often."""

    def __init__(self, plan: Plan, share: range, address: Address, run: str, clock: Clock) -> None:
        self.totals = Totals()
        self.acked = Durations()
        self.late = Durations()
        self.measuring = False
        self.links: list[Link] = []
        self.robots: list[Robot] = []
        self._plan = plan
        self._share = share
        self._address = address
        self._run = run
        self._clock = clock
        self._live = plan.speed == "rate"
        self._by_topic: dict[bytes, Robot] = {}
        self._waiting: dict[Robot, None] = {}  # robots that could send more: an ordered set
        self._began: float | None = None
        self._stopped = False
        self._made = 0
        self._looked = 0.0
        self._live_from = MAX_STAMP
        self._out: dict[Link, list[bytes]] = {}
        self._on: dict[Link, list[Robot]] = {}
        self._turn = 0
        self._rng = random.Random(f"{plan.seed}-{share.start}")

    def prepare(self) -> None:
        """Make robots and links. This takes a moment: all bodies are encoded."""
        plan, rng = self._plan, self._rng
        bodies = Bodies(plan, rng)
        # time stamps of one robot differ at least by this, in microseconds, so that its samples do not overlap
        self._step = bodies.step * plan.sets if not self._live else 1
        self._wobble = min(WOBBLE, bodies.step / 4) if self._live else 0.0
        count = len(self._share) if plan.connections is None else max(1, plan.connections // plan.generators)
        count = min(count, len(self._share))
        groups = [self._share[i::count] for i in range(count)]
        now = self._clock.now()
        for group in groups:
            link = self._link([plan.robot(number) for number in group], rng)
            self.links.append(link)
            self._out[link], self._on[link] = [], []
            for number in group:
                stamps = list(_collected(plan, number, now, rng))
                template = Template(plan.robot(number), self._run, bodies, plan.qos, rng.randrange(1_000_000))
                pace = Pace(max(plan.pace, 2 * plan.rate))
                robot = Robot(plan.robot(number), Outbox(plan.in_flight, stamps), template, link, pace)
                self._by_topic[topics.down(robot.id, "ack").encode()] = robot
                self.robots.append(robot)
                self._on[link].append(robot)
                self.totals.issued += robot.old
                self.totals.backlog += robot.old
        self.robots.sort(key=lambda robot: int(robot.id.rpartition("-")[2]))

    def _link(self, robots: list[str], rng: random.Random) -> Link:
        alone, session = len(robots) == 1, self._session(robots[0])

        def hello(link: Link) -> list[bytes]:
            self._connected(link)
            return self._present(link, robots, session, "online", "connected")

        last = presence(robots[0], self._clock.now(), "offline", "last_will", session, None)
        return Link(
            f"botyard-{robots[0]}",
            self._address,
            [topics.down(robot, "ack") for robot in robots],
            will=(topics.presence(robots[0]), last) if alone else None,  # a connection has one last will
            hello=hello,
            heard=self._hear,
            rng=rng,
        )

    def _present(self, link: Link, robots: list[str], session: str, status: str, reason: str) -> list[bytes]:
        now, interval = self._clock.now(), self._plan.heartbeat if status == "online" else None
        return [
            mqtt.publish(
                topics.presence(robot),
                presence(robot, now, status, reason, session, interval),
                next(link.identifiers),
                retain=True,
            )
            for robot in robots
        ]

    # --- what the owner tells

    def begin(self) -> None:
        """From now on the robots send."""
        self._began = self._clock.monotonic()
        self._live_from = self._clock.now()
        for robot in self.robots:
            robot.heard = self._began
            robot.pace.begin(self._began)
            if robot.link.connected and (not self._live or robot.old):
                self._waiting[robot] = None

    def stop(self) -> None:
        """From now on nothing new is made; what there is is still sent."""
        self._stopped = True

    def goodbye(self, link: Link, *, clear: bool) -> bytes:
        """The last packets of a link: offline, and with `clear` nothing that the broker remembers."""
        robots = [robot.id for robot in self._on[link]]
        packets = self._present(link, robots, self._session(robots[0]), "offline", "stopped")
        if clear:
            packets += [
                mqtt.publish(topics.presence(robot), b"", next(link.identifiers), retain=True) for robot in robots
            ]
        return b"".join(packets)

    # --- what happens

    def pump(self) -> None:
        """Make and send what is due."""
        if self._began is None:
            return
        now = self._clock.monotonic()
        if self._live and not self._stopped:
            self._make(now)
        self._refill(now)
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._look(now)
        self.flush()

    def flush(self) -> None:
        """Give the links what was prepared for them."""
        for link, packets in self._out.items():
            if packets:
                link.send(b"".join(packets))
                self.totals.sent += len(packets)
                packets.clear()

    def _make(self, now: float) -> None:
        """The live messages that are due by now, robot after robot."""
        assert self._began is not None  # noqa: S101 - the caller looked
        count, per_second = len(self.robots), self._plan.rate * len(self.robots)
        due = int((now - self._began) * per_second)
        if due > self._made and self.measuring:
            self.late.add([int((now - self._began - (self._made + 1) / per_second) * 1e6)])
        for number in range(self._made, due):
            robot = self.robots[number % count]
            seq = self._add(robot, self._live_from + int(number * 1e6 / per_second))
            box = robot.box
            if not robot.link.ready:
                if robot.link.connected:
                    self._waiting[robot] = None
            elif box.next == seq:
                if box.take():
                    self._put(robot, seq)
                else:
                    self._waiting[robot] = None
            elif box.take_ahead():
                self._put(robot, seq)
        self._made = due

    def _add(self, robot: Robot, due: int) -> int:
        """A message with the time when it was due, so that a late generator makes no latency look short. Sensors are
        read a little before, never quite regularly."""
        wobble = int(self._rng.random() * self._wobble)
        robot.last = max(due - wobble, robot.last + self._step)
        self.totals.issued += 1
        return robot.box.add(robot.last)

    def _put(self, robot: Robot, seq: int) -> None:
        packet = robot.template.packet(seq, robot.box.ts(seq), robot.link.identifiers)
        self._out[robot.link].append(packet)

    def _refill(self, now: float) -> None:
        """Send what waits, as far as windows and paces allow."""
        for robot in list(self._waiting):
            if not robot.link.ready:
                continue
            if not (self._catch_up(robot, now) if self._live else self._fill(robot)):
                del self._waiting[robot]

    def _fill(self, robot: Robot) -> bool:
        """At full speed: fill the window, with what is to be sent again first. False, since there is no room left."""
        box = robot.box
        for _ in range(box.room()):
            if box.next > box.issued:
                if self._stopped:
                    break
                self._add(robot, self._clock.now())
            self._put(robot, box.take())
        return False

    def _catch_up(self, robot: Robot, now: float) -> bool:
        """Send some of the backlog; whether there is more."""
        sent = 0
        for _ in range(robot.pace.allowed(now)):
            seq = robot.box.take()
            if not seq:
                break
            sent += 1
            self._put(robot, seq)
            if not robot.probe:
                robot.probe, robot.probed = seq, now
        robot.pace.spend(sent)
        return robot.box.next <= robot.box.issued

    def _look(self, now: float) -> None:
        """Send again what the hub has been silent about, and be alive."""
        for robot in self.robots:
            box = robot.box
            if not box.in_flight:
                robot.heard = now
            elif now - robot.heard > RESEND_AFTER * 2**robot.patience:
                robot.patience = min(MOST_PATIENT, robot.patience + 1)
                robot.heard = now
                robot.pace.slow_down(now)
                robot.rewind()
                self._waiting[robot] = None
        # a slice of the robots at each look, so that the heartbeats are spread
        slices = max(1, int(self._plan.heartbeat / LOOK_EVERY))
        self._turn = (self._turn + 1) % slices
        for robot in self.robots[self._turn :: slices]:
            if robot.link.ready:
                beat = self._present(robot.link, [robot.id], self._session(robot.id), "online", "heartbeat")
                robot.link.send(b"".join(beat))

    def _session(self, robot: str) -> str:
        return f"{self._run}-{robot}"[-64:]

    def _connected(self, link: Link) -> None:
        """Everything that is not acknowledged is sent again after a reconnect."""
        for robot in self._on[link]:
            robot.rewind()
            robot.pace.begin(self._clock.monotonic())
            if self._began is not None and (robot.box.next <= robot.box.issued or not self._live):
                self._waiting[robot] = None

    def _hear(self, topic: bytes, payload: bytes) -> None:
        robot = self._by_topic.get(topic)
        if robot is None:
            return
        ack = _decode(payload).body
        if ack.epoch != self._run:
            return
        box = robot.box
        box.name(ack.beyond)
        before = box.acked
        stamps = box.ack(ack.seq)
        if not stamps:
            return
        now = self._clock.now()
        robot.heard, robot.patience = self._clock.monotonic(), 0
        if 0 < robot.probe <= box.acked:
            robot.pace.acknowledged(robot.heard - robot.probed, robot.heard)
            robot.probe = 0
        totals = self.totals
        totals.acked += len(stamps)
        if not before:
            totals.met += 1
        if before < robot.old:
            totals.backlog -= min(robot.old, box.acked) - before
            if not totals.backlog:
                totals.drained = robot.heard - (self._began or 0.0)
        if self.measuring:
            live = self._live_from
            self.acked.add([now - ts for ts in stamps if ts >= live])
        if box.next <= box.issued or not self._live:
            self._waiting[robot] = None

    def report(self) -> dict[str, Any]:
        """Where things stand."""
        return {
            **msgspec.to_builtins(self.totals),
            "connected": sum(link.connected for link in self.links),
            "reconnects": sum(max(0, link.connections - 1) for link in self.links),
            "links": len(self.links),
            "problem": next((link.problem for link in self.links if not link.connected and link.problem), ""),
        }

    def samples_acked(self) -> int:
        """Samples, over all channels, in the messages that are acknowledged."""
        return sum(self._plan.samples(robot.box.acked) for robot in self.robots) * self._plan.channels

    def wanted(self) -> Iterator[tuple[str, int, int]]:
        """Each robot with how many messages it made, and how many of them are acknowledged."""
        return ((robot.id, robot.box.issued, robot.box.acked) for robot in self.robots)


def _collected(plan: Plan, number: int, now: int, rng: random.Random) -> Iterator[int]:
    """Time stamps of the messages that a robot made in an outage until `now`: regular, give or take a millisecond."""
    period = 1e6 / plan.rate
    first = now - plan.outage * 1e6 + period * (number / plan.robots - 1)
    wobble = min(WOBBLE, period / plan.sets / 4)
    return (int(first + period * i - wobble * rng.random()) for i in range(int(plan.outage * plan.rate)))
