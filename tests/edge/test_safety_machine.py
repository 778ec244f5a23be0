"""The safety node under any sequence of commands, faults, restarts and messages of the hub."""

import errno
import itertools
import math
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from botyard_edge.driver import Command, CommandSpec, Motion, Pose
from botyard_edge.safety import Cause, ClearRefusedError, SafetyNode, Store
from botyard_edge.safety.areas import inside_limits
from botyard_edge.safety.policy import Area, Limits, Policy, Watchdogs
from botyard_edge.safety.store import Rewriting
from botyard_edge.testing import VirtualClock
from botyard_schemas import Event, Report
from botyard_schemas.messages import Mode

HALL = ((0.0, 0.0), (20.0, 0.0), (20.0, 10.0), (0.0, 10.0))
PIT = ((5.0, 5.0), (6.0, 5.0), (6.0, 6.0), (5.0, 6.0))
POLICY = Policy(
    Limits(
        max_speed=1.2,
        max_angular_speed=0.7,
        max_acceleration=0.5,
        min_battery=0.15,
        geofence=Area((HALL,)),
        keep_out=Area((PIT,)),
        on_violation={"max_speed": "clamp", "max_acceleration": "clamp", "max_angular_speed": "reject"},
    ),
    Watchdogs(command_timeout=0.5, link="finish_step", link_timeout=10.0, required=frozenset({"driver.base"})),
)
SPECS = {
    "drive": CommandSpec("drive", motion=Motion("velocity", linear=("vx", "vy"), angular=("w",))),
    "goto": CommandSpec("goto", motion=Motion("goal", linear=("speed",), goal=("x", "y"))),
    "stop": CommandSpec("stop", motion=Motion("stop")),
    "lamp": CommandSpec("lamp", motion=Motion("none")),
    "dance": CommandSpec("dance"),
}
HARMLESS = {"stop", "lamp"}
REQUESTS = {"safety.stop", "safety.safe"}
# When a velocity was asked for last, and which.
AT_REST: tuple[float, tuple[float, float]] = (-math.inf, (0.0, 0.0))
FINAL = {"succeeded", "failed", "cancelled", "expired", "rejected"}
ARGS = ("vx", "vy", "w", "x", "y", "speed")
sensible = st.fixed_dictionaries(dict.fromkeys(ARGS, st.floats(-2, 2)))
numbers = st.floats(-10, 30, allow_nan=False) | st.integers(-5, 30) | st.sampled_from([math.inf, "fast", None])


class Disk(Store):
    """One that may be full."""

    full = False

    def keep(self, causes: Iterable[Cause]) -> None:
        self._check()
        super().keep(causes)

    def note(self, record: dict[str, Any]) -> None:
        self._check()
        super().note(record)

    def rewriting(self, records: Iterable[dict[str, Any]]) -> Rewriting:
        return self._check if self.full else super().rewriting(records)

    def _check(self, *_: object) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


class Listener:
    def __init__(self, machine: "SafetyMachine") -> None:
        self.machine = machine

    def rest(self, reason: str) -> None:
        self.machine.rests += 1
        self.machine.velocity = AT_REST

    def hand_over(self, reason: str) -> None:
        self.machine.handed_over += 1
        self.machine.velocity = AT_REST

    def tell(self, event: Event) -> None:
        assert event.message
        self.machine.events.append(event.name)

    def answer(self, report: Report) -> None:
        self.machine.answered(report)

    def go_home(self, command: str) -> None:
        raise AssertionError("nobody declared a dock")

    def changed(self, mode: Mode, reason: str | None) -> None:
        assert (mode in ("safe", "estop")) == bool(reason)


class SafetyMachine(RuleBasedStateMachine):
    running: "Bundle[str]" = Bundle("running")
    sent: "Bundle[Command]" = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = VirtualClock()
        self.ids = itertools.count()
        self.finals: dict[str, Report] = {}
        self.executed: set[str] = set()
        self.open: set[str] = set()
        self.known: set[str] = set()
        self.events: list[str] = []
        self.rests = self.handed_over = 0
        self.disk = Disk(self.folder / "latch")
        # What the machine knows of the world, and the node must not forget.
        self.pressed = {"red": False, "rear": False}
        self.told_inputs = False
        self.person_drives = False
        self.stopped = False
        self.latched_safe = False
        self.loop_blocked = False
        self.velocity: tuple[float, tuple[float, float]] = AT_REST
        self.start()

    def start(self) -> None:
        self.disk = Disk(self.folder / "latch")
        self.node = SafetyNode(POLICY, clock=self.clock, store=self.disk, strict=True, drivers=["io", "base"])
        self.node.listener = Listener(self)
        self.node.open()
        assert self.node.mode in ("safe", "estop"), "what it requires does not work yet"
        self.told_inputs = self.person_drives = False
        self.node.node("driver.base", "running", None)
        self.node.heard("base", {"pose": Pose("hall", 1.0, 1.0, 0.0)})
        self.node.act(lambda core: core.measured.battery(0.9, now=self.clock.now()))

    def teardown(self) -> None:
        self.node.close()
        shutil.rmtree(self.folder)

    def answered(self, report: Report) -> None:
        assert report.status in FINAL
        assert report.status == "succeeded" or report.reason
        assert self.finals.setdefault(report.command, report) == report, "one command, one end"
        self.open.discard(report.command)

    def pass_time(self, seconds: float) -> None:
        self.clock._elapsed += round(seconds * 1e6)
        self.node.tick(self.clock.now())
        due = self.node.due(self.clock.monotonic())
        assert due is None or due > self.clock.monotonic(), "whoever waits for that moment must not spin"

    def deliver(self, command: Command) -> bool:
        """Whether it is executed."""
        self.known.add(command.id)
        mode = self.node.mode
        spec = SPECS.get(command.name, "there is no such command")
        verdict = self.node.judge(command, spec, lambda _: None)
        if verdict.report is not None:
            assert verdict.args is None
            self.answered(verdict.report)
        if verdict.args is None:
            assert verdict.report is not None or command.id in self.open
            return False
        assert command.id not in self.executed, "nothing is executed twice"
        assert self.clock.now() < command.expires
        assert mode == "auto" or command.name in HARMLESS | REQUESTS
        self.executed.add(command.id)
        self.open.add(command.id)
        self.check_limits(command.name, dict(verdict.args))
        return True

    def check_limits(self, name: str, args: dict[str, Any]) -> None:
        if name == "drive":
            speed = math.hypot(args["vx"], args["vy"])
            assert speed <= 1.2
            assert abs(args["w"]) <= 0.7
            at, (vx, vy) = self.velocity
            now = self.clock.monotonic()
            if now - at <= 0.5:
                braked = min(math.hypot(args["vx"] - vx * k, args["vy"] - vy * k) for k in self.between(args, vx, vy))
                assert braked <= 0.5 * (now - at) + 1e-9, "further than it can come after any braking"
            moves = any(args[name] for name in ("vx", "vy", "w"))
            self.velocity = (now, (args["vx"], args["vy"])) if moves else AT_REST
        elif name == "goto":
            assert abs(args["speed"]) <= 1.2, "also when nobody said how fast"
            if "x" in args and "y" in args:  # and else the driver knows the goal by another name
                assert inside_limits(POLICY.limits, Pose("hall", args["x"], args["y"], 0.0))
        else:
            assert name in HARMLESS | REQUESTS, "what cannot be limited is refused"

    def between(self, args: dict[str, Any], vx: float, vy: float) -> tuple[float, ...]:
        """Shares of the velocity before: none, all, and the one nearest to the new velocity."""
        square = vx * vx + vy * vy
        return 0.0, 1.0, min(1.0, max(0.0, (args["vx"] * vx + args["vy"] * vy) / square if square else 0.0))

    # --- the hub

    @rule(
        target=sent,
        name=st.sampled_from([*SPECS, "fly", "safety.clear", "safety.estop"]),
        args=sensible | st.fixed_dictionaries({}, optional=dict.fromkeys(ARGS, numbers)),
        seconds=st.sampled_from([60.0, 60.0, 60.0, 1.0, -1.0]),
    )
    def write(self, name: str, args: dict[str, Any], seconds: float) -> Command:
        return Command(f"c{next(self.ids)}", name, self.clock.now() + round(seconds * 1e6), args)

    @rule(target=running, command=sent)
    def send(self, command: Command) -> Any:
        return command.id if self.deliver(command) else multiple()

    @rule(target=running, name=st.sampled_from(["drive", "drive", "goto"]), args=sensible)
    def order(self, name: str, args: dict[str, Any]) -> Any:
        command = Command(f"c{next(self.ids)}", name, self.clock.now() + 60_000_000, args)
        return command.id if self.deliver(command) else multiple()

    @rule(target=running, name=st.sampled_from(sorted(REQUESTS)))
    def ask_for_rest(self, name: str) -> str:
        before = self.rests
        command = Command(f"c{next(self.ids)}", name, self.clock.now() + 1)
        assert self.deliver(command), "in every mode, and however much is under way"
        assert self.rests > before
        self.latched_safe |= name == "safety.safe"
        return command.id

    # --- the robot

    @rule(command=consumes(running), status=st.sampled_from(["succeeded", "failed", "cancelled"]))
    def finish(self, command: str, status: Any) -> None:
        if command in self.open:  # and did not end with a process
            report = Report(command, status, reason=None if status == "succeeded" else "so it was")
            self.node.finish(report)
            self.answered(report)

    @rule(name=st.sampled_from(["red", "rear"]), active=st.booleans())
    def press(self, name: str, active: bool) -> None:
        if not self.told_inputs:  # the first word says which there are
            self.pressed = dict.fromkeys(self.pressed, False)
        self.told_inputs = True
        self.pressed[name] = active
        self.stopped |= active
        before = self.rests
        was = self.node.mode
        self.node.heard("io", {"estop_inputs": {name: active}})
        assert not active or was == "estop" or self.rests > before

    @rule()
    def stop_at_the_robot(self) -> None:
        self.stopped = True
        self.node.estop("somebody wants it")

    @rule()
    def clear(self) -> None:
        lasting = [name for name, active in self.pressed.items() if active]
        try:
            self.node.clear("Kim")
        except ClearRefusedError:
            assert lasting or self.loop_blocked
        else:
            assert not lasting
            assert not self.loop_blocked
            self.stopped = self.latched_safe = False

    @rule()
    def put_all_right(self) -> None:
        for name in self.pressed:
            self.press(name, active=False)
        self.block(blocked=False)
        self.move(1.0, 1.0)
        self.node_changes("running")
        self.node.node("driver.io", "running", None)
        self.take_over(by_a_person=False)
        self.link(connected=True)
        self.charge(0.9)
        self.clear()
        assert self.node.mode == "auto"

    @rule(level=st.floats(0, 1))
    def charge(self, level: float) -> None:
        self.node.act(lambda core: core.measured.battery(level, now=self.clock.now()))

    @rule(x=st.floats(-5, 25), y=st.floats(-5, 15))
    def move(self, x: float, y: float) -> None:
        self.node.heard("base", {"pose": Pose("hall", x, y, 0.0)})
        assert inside_limits(POLICY.limits, Pose("hall", x, y, 0.0)) or self.node.mode != "auto"

    @rule(by_a_person=st.booleans())
    def take_over(self, by_a_person: bool) -> None:
        before, rests = self.handed_over, self.rests
        self.node.heard("base", {"mode": "manual" if by_a_person else "auto"})
        assert self.handed_over - before == (by_a_person and not self.person_drives)
        assert self.rests == rests, "a stop would take it from the person again"
        self.person_drives = by_a_person
        assert not by_a_person or self.node.mode != "auto"

    @rule(status=st.sampled_from(["running", "starting", "backoff", "failed", "stopped"]))
    def node_changes(self, status: str) -> None:
        self.node.node("driver.base", status, "it broke")
        assert status == "running" or self.node.mode != "auto"

    @rule(connected=st.booleans())
    def link(self, connected: bool) -> None:
        self.node.linked(connected, self.clock.monotonic())

    @rule(blocked=st.booleans())
    def block(self, blocked: bool) -> None:
        self.loop_blocked = blocked
        self.latched_safe |= blocked
        if blocked:
            self.node.blocked("the loop is blocked")
        else:
            self.node.back()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.3, 1.0, 15.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(full=st.booleans())
    def fill_disk(self, full: bool) -> None:
        self.disk.full = full
        if not full:
            self.pass_time(1.1)
            assert "safety.disk_recovered" in self.events or "safety.disk_failed" not in self.events

    @precondition(lambda self: not self.disk.full)
    @rule(damage=st.sampled_from(["none", "none", "torn ledger", "ledger bytes", "latch", "latch bytes"]))
    def crash(self, damage: str) -> None:
        moving = self.node.core.ledger.moving
        self.node.close()
        if damage.startswith("latch"):
            (self.folder / "latch").write_bytes(b'{"causes": [' if damage == "latch" else b'{"causes": ["\xff"]}')
            self.stopped, self.pressed = True, dict.fromkeys(self.pressed, False)
        elif damage != "none" and (self.folder / "latch.commands").exists():
            with (self.folder / "latch.commands").open("ab") as file:
                file.write(b'{"begun": "c9' if damage == "torn ledger" else b'{"begun": "\xff"}\n')
        self.loop_blocked = False
        self.velocity = AT_REST
        self.latched_safe |= moving
        self.start()
        assert not moving or self.node.mode != "auto", "killed in motion: it comes back at rest"
        assert not self.open, "everything that was under way is answered"

    @precondition(lambda self: not any(self.pressed.values()) and not self.disk.full)
    @rule()
    def end_and_begin(self) -> None:
        for command in list(self.open):
            self.finish(command, "cancelled")
        self.node.at_rest()
        mode = "estop" if self.stopped else "safe" if self.latched_safe else "auto"
        self.loop_blocked = False
        self.node.close()
        self.start()
        assert self.node.mode == mode

    # --- what always holds

    @invariant()
    def emergency_stop_lasts_until_it_is_cleared(self) -> None:
        assert (self.node.mode == "estop") == self.stopped

    @invariant()
    def safe_mode_that_is_latched_lasts(self) -> None:
        assert not self.latched_safe or self.node.mode in ("safe", "estop")

    @invariant()
    def every_command_that_arrived_is_answered_or_under_way(self) -> None:
        assert self.known == set(self.finals) | self.open
        assert not set(self.finals) & self.open


SafetyMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
TestSafetyNode = SafetyMachine.TestCase
