"""What is judged alike in virtual time and at a real hub: commands, and what was seen of the robots themselves."""

from collections.abc import Iterable, Sequence

from botyard_plugins.simulation.befall import WAYS
from botyard_plugins.simulation.report import Invariant
from botyard_plugins.simulation.robot import SimulatedRobot
from botyard_plugins.simulation.scenario import Errand, Fault

# Seconds after which a robot that could not be reached is reached again for certain.
SETTLED = 30.0
# How a command can end.
ENDED = frozenset({"succeeded", "failed", "cancelled", "rejected", "expired"})

# A command, as `robot-1: goto`, and its status.
End = tuple[str, str]


def end(what: str, status: str, *, answered: bool, excused: bool) -> End:
    """How a command ended; its robot should have reported on it, unless that is excused."""
    return what, status if answered or excused else f"{status}, without an answer"


def excused(errand: Errand, planned: Iterable[Fault]) -> bool:
    """Whether the robot may not have heard the command, or not have been heard, until its deadline."""
    last = errand.at + errand.what.expires
    return any(
        fault.robot == errand.robot
        and fault.what.fault in (*WAYS, "reboot", "clock_jump")
        and fault.at < last
        and errand.at < fault.until + SETTLED
        for fault in planned
    )


def of_commands(ends: Iterable[End], unasked: Sequence[str]) -> Invariant:
    """Whether each command has ended; `unasked` are those that the hub did not take in."""
    open_ = [f"{what} is {status}" for what, status in ends if status not in ENDED]
    return Invariant("every command is answered", open_ + list(unasked))


def of_robots(robots: Iterable[SimulatedRobot], unwell: Sequence[str]) -> list[Invariant]:
    """What was seen of the robots, from outside of their software; `unwell` are nodes that did not run in the end."""
    witnesses = [robot.witness for robot in robots if robot.witness is not None]
    late = [sentence for robot in robots for sentence in robot.late]
    return [
        Invariant("every node runs in the end", list(unwell)),
        Invariant("no limit is exceeded", [sentence for one in witnesses for sentence in one.exceeded]),
        Invariant("no area is left or entered", [sentence for one in witnesses for sentence in one.astray]),
        Invariant(
            "safe mode comes within its deadline", late + [sentence for one in witnesses for sentence in one.restless]
        ),
    ]
