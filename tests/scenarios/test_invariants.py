"""Each invariant fails when what it stands for is broken: else that it holds would say nothing."""

from pathlib import Path
from typing import Any

import pytest

from botyard.ingest.batch import OpenBatch
from botyard_edge import outboxcore
from botyard_edge.commands import CommandDesk
from botyard_edge.driver import ConfigurationError
from botyard_edge.outbox import Entry
from botyard_edge.safety import core, measured
from botyard_edge.safety.absence import Absence
from botyard_edge.sender import Sender
from botyard_plugins.sim.drive import Drive
from botyard_plugins.sim.pilot import Pilot
from botyard_plugins.simulation import trouble
from botyard_plugins.simulation.scenario import CommandSettings, FaultSettings, Scenario
from botyard_plugins.simulation.witness import MotionLimits, Witness
from botyard_plugins.simulation.world import simulate
from botyard_plugins.simulation.zones import Zones
from botyard_schemas import encode
from botyard_schemas.messages import Envelope

SAFETY: dict[str, Any] = {
    "limits": {"max_speed": "0.5 m/s"},
    "on_violation": {"max_speed": "clamp"},
    "watchdogs": {"link_lost": "stop", "link_timeout": "4 s"},
}
STILL = {"patrol": False, "start": "dock-3", "block": 0.2}
GOTO = CommandSettings("goto", 2.0, {"waypoint": "aisle-3-b"}, robots=[1])


def broken(folder: Path, **scenario: Any) -> dict[str, list[str]]:
    """The invariants that did not hold, and how; there are no others than these."""
    folder.mkdir(exist_ok=True)
    found = simulate(Scenario(**{"robots": 2, "seconds": 20.0, "settle": 6.0, **scenario}), 7, folder).report
    assert found.ok is not any(one.violations for one in found.invariants)
    return {one.name: one.violations for one in found.invariants if not one.holds}


def test_everything_holds_as_long_as_nothing_is_broken(tmp_path: Path) -> None:
    faults = [FaultSettings("link_loss", 8.0, 8.0), FaultSettings("node_crash", 5.0, robots=[2])]
    commands = [GOTO, CommandSettings("safety.stop", 6.0)]
    assert broken(tmp_path, options=STILL, robot={"safety": SAFETY}, commands=commands, faults=faults) == {}


def test_message_that_is_never_sent_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Sender._send

    async def forgetful(self: Sender, session: Any, entry: Entry) -> None:
        if entry.seq != 5:
            await send(self, session, entry)

    monkeypatch.setattr(Sender, "_send", forgetful)
    found = broken(tmp_path)
    assert "the hub has 4 of" in found["nothing is lost"][0]


def test_message_that_is_stored_twice_is_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = OpenBatch.keep

    def twice(self: OpenBatch, *args: Any) -> None:
        keep(self, *args)
        keep(self, *args)

    monkeypatch.setattr(OpenBatch, "keep", twice)
    found = broken(tmp_path)
    assert list(found) == ["nothing is doubled"]
    assert "were sent" in found["nothing is doubled"][0]


def test_message_that_breaks_the_contract_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(envelope: Envelope) -> bytes:
        return encode(envelope).replace(b'"health":"ok"', b'"health":"fine"')

    monkeypatch.setattr(outboxcore, "encode", wrong)
    found = broken(tmp_path)
    assert list(found) == ["nothing is refused"]
    assert "fine" in found["nothing is refused"][0]


def test_driver_that_is_given_up_does_not_run_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def befall(_: trouble.Trouble) -> None:
        raise ConfigurationError("nothing fits")

    monkeypatch.setattr(trouble.Trouble, "befall", befall)
    found = broken(tmp_path, faults=[FaultSettings("node_crash", 5.0, robots=[2])])
    assert found == {"every node runs in the end": ["robot-2: driver.sim is failed"]}


def test_command_that_the_robot_ignores_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandDesk, "take", lambda *_: None)
    commands = [CommandSettings("goto", 2.0, {"waypoint": "aisle-3-b"}, expires=5.0, robots=[1])]
    found = broken(tmp_path, options=STILL, commands=commands)
    assert found == {"every command is answered": ["robot-1: goto is expired, without an answer"]}


def test_limit_that_the_safety_node_does_not_keep_is_exceeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "limited", lambda _motion, args, *_, **__: dict(args))
    found = broken(tmp_path, options=STILL, robot={"safety": SAFETY}, commands=[GOTO])
    assert list(found) == ["no limit is exceeded"]
    assert "m/s, at most 0.5 are allowed" in found["no limit is exceeded"][0]


def test_robot_that_accelerates_too_much_exceeds_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = Drive._go_on

    def hasty(self: Drive, seconds: float) -> None:
        self.mass = 0.5
        go_on(self, seconds)

    monkeypatch.setattr(Drive, "_go_on", hasty)
    found = broken(tmp_path, commands=[GOTO], options=STILL)
    assert "m/s2, at most 0.5 are allowed" in found["no limit is exceeded"][0]


def test_safe_mode_that_does_not_come_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Absence, "due", lambda _: None)
    found = broken(tmp_path, options=STILL, robot={"safety": SAFETY}, faults=[FaultSettings("link_loss", 5.0, 10.0)])
    assert set(found) == {"safe mode comes within its deadline"}
    assert "robot-1: no connection for 5 s, and its mode was auto" in found["safe mode comes within its deadline"]


def test_robot_that_does_not_come_to_rest_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pilot, "halt", lambda *_: None)
    commands = [CommandSettings("goto", 2.0, {"waypoint": "packing-1"}), CommandSettings("safety.stop", 6.0)]
    found = broken(tmp_path, options=STILL, commands=commands)
    assert "although it had been told to rest" in found["safe mode comes within its deadline"][0]


def test_witness_follows_only_what_it_sees() -> None:
    """A gap in what it sees is no motion, and blocked wheels may stop at once."""
    witness = Witness("r", MotionLimits(1.0, 0.5, 1.2))
    witness.see([(n * 0.1, n * n * 0.0025, 0.0, 0.0, False) for n in range(20)])
    witness.see([(2.0, 0.9025, 0.0, 0.0, True), (2.1, 0.9025, 0.0, 0.0, False), (9.0, 50.0, 0.0, 0.0, False)])
    assert witness.exceeded == []
    assert witness.driven == pytest.approx(0.9025)
    witness.see([(9.1, 50.2, 0.0, 0.3, False)])
    speed, turning = witness.exceeded
    assert speed == "r: at 9.1 s its speed was 2.000 m/s, at most 1 are allowed"
    assert turning == "r: at 9.1 s its angular speed was 3.000 rad/s, at most 1.2 are allowed"


def test_goal_that_turns_faster_than_allowed_exceeds_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safety = {"limits": {"max_angular_speed": "0.5 rad/s"}, "on_violation": {"max_angular_speed": "clamp"}}
    scene: dict[str, Any] = {"options": STILL, "robot": {"safety": safety}, "commands": [GOTO]}
    assert broken(tmp_path / "kept", **scene) == {}
    monkeypatch.setattr(core, "limited", lambda _motion, args, *_, **__: dict(args))
    found = broken(tmp_path / "broken", **scene)
    assert list(found) == ["no limit is exceeded"]
    assert "rad/s, at most 0.5 are allowed" in found["no limit is exceeded"][0]


def test_velocity_that_counts_for_ever_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safety = {"watchdogs": {"command_timeout": "1 s"}}
    drive = CommandSettings("drive", 2.0, {"x": 0.4, "yaw": 0.0}, every=0.5, lasts=3.0, robots=[1])
    scene: dict[str, Any] = {"options": {**STILL, "start": "aisle-3-w"}, "robot": {"safety": safety}}
    assert broken(tmp_path / "kept", **scene, commands=[drive]) == {}
    monkeypatch.setattr(core.SafetyCore, "tick", lambda *_, **__: None)
    found = broken(tmp_path / "broken", **scene, commands=[drive])
    assert list(found) == ["safe mode comes within its deadline"]
    assert "although it had been told to rest" in found["safe mode comes within its deadline"][0]


@pytest.mark.parametrize("stopping", [{}, {"deceleration": "0.4 m/s2", "reaction": "500 ms"}], ids=["after", "before"])
def test_area_that_nobody_keeps_is_entered(
    stopping: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = [[14.0, 13.5], [17.0, 13.5], [17.0, 15.5], [14.0, 15.5]]
    safety = {"keep_out": {"polygons_m": [zone]}, "stopping": stopping}
    goto = CommandSettings("goto", 2.0, {"waypoint": "aisle-3-b", "speed": 0.8}, robots=[1])
    scene: dict[str, Any] = {"options": STILL, "robot": {"safety": safety}, "commands": [goto], "seconds": 40.0}
    assert broken(tmp_path / "kept", **scene) == {}
    monkeypatch.setattr(measured, "outside", lambda *_: None)
    monkeypatch.setattr(measured, "leaves", lambda *_: None)
    found = broken(tmp_path / "broken", **scene)
    assert list(found) == ["no area is left or entered"]
    assert "beyond its area" in found["no area is left or entered"][0]


def test_zones_know_how_far_a_place_is_beyond_them() -> None:
    square = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]
    zones = Zones(fences=[square], forbidden=[[(1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0)]])
    assert zones.beyond(3.0, 3.0) == 0.0
    assert zones.beyond(1.5, 1.2) == pytest.approx(0.2)
    assert zones.beyond(7.0, 8.0) == pytest.approx(5.0)
    assert not Zones()
