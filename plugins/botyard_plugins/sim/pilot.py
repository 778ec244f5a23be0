"""What a robot decides: where to go next, when to charge, and what becomes of a command."""

import asyncio
import math
import random
from dataclasses import dataclass

from botyard_edge.driver import CommandFailedError, CommandRejectedError
from botyard_plugins.sim.body import Battery
from botyard_plugins.sim.drive import Drive
from botyard_plugins.sim.plan import Place, PlanError, Roads, Station

LOW = 0.25
FULL = 0.95
# How far from a road a wanted point may be; metres.
REACH = 0.5


@dataclass(slots=True)
class Order:
    """A drive that somebody asked for. `length` is the whole way in metres."""

    name: str
    goal: Place
    done: "asyncio.Future[None]"
    length: float = 0.0


class Pilot:
    """Steers along roads: patrols between stations, charges when the battery is low, and obeys orders first."""

    def __init__(self, roads: Roads, drive: Drive, battery: Battery, rng: random.Random, *, patrol: bool) -> None:
        self.patrol = patrol
        self.docked = False
        self.doing = "waiting"
        self.carrying = False
        self.order: Order | None = None
        self._roads = roads
        self._drive = drive
        self._battery = battery
        self._rng = rng
        self._goal: str | None = None
        self._pause = 0.0

    @property
    def busy(self) -> bool:
        """Whether the robot is on its way to somewhere."""
        return not self._drive.arrived

    def step(self, seconds: float) -> None:
        """Decide, once per step of time."""
        if not self._drive.arrived:
            return
        if self.order is not None and not self.order.done.done():
            self._serve(self.order)
        elif self._goal is not None:
            self._arrive()
        elif self.docked and (self._battery.level < FULL or not self.patrol):
            self._battery.charging = self._battery.level < 1.0
            self.doing = "charging" if self._battery.charging else "waiting at a dock"
        elif self._pause > 0.0:
            self._pause -= seconds
        elif self.patrol:
            self._set_out()
        else:
            self.doing = "waiting"

    def place(self, goal: str | None, x: float | None, y: float | None) -> Place:
        """The place that a command means. Raises CommandRejectedError."""
        try:
            if goal is not None:
                return self._roads.at(goal)
        except PlanError as error:
            raise CommandRejectedError(f"args.waypoint: {error}") from error
        assert x is not None  # the command's schema sees to it  # noqa: S101
        assert y is not None  # noqa: S101
        place, distance = self._roads.nearest(x, y)
        if distance > REACH:
            raise CommandRejectedError(
                f"args: ({x:g}, {y:g}) is {distance:.1f} m from the nearest road, at most {REACH} m are allowed"
            )
        return place

    def nearest_dock(self) -> str:
        """The name of the dock with the shortest way. Raises CommandRejectedError."""
        if not (docks := self._roads.destinations(lambda station: station.kind == "dock")):
            raise CommandRejectedError("the plan has no dock that a road leads to")
        here = self._here()
        return min(docks, key=lambda name: (self._roads.length(here, self._roads.at(name)), name))

    def obey(self, name: str, goal: Place) -> Order:
        """Drive there as soon as the robot rests. An order that is being served ends as cancelled."""
        self.cancel(f"replaced by an order to {name}")
        self.order = Order(name, goal, asyncio.get_running_loop().create_future())
        self._goal = None
        if not self._drive.arrived:
            self._drive.brake()
        return self.order

    def halt(self) -> None:
        """Come to rest and stay there until the next command."""
        self.patrol = False
        self._goal = None
        self.cancel("stopped")
        self.doing = "stopped"
        if not self._drive.arrived:
            self._drive.brake()

    def cancel(self, why: str) -> None:
        """End the order that is being served, if any."""
        if self.order is not None and not self.order.done.done():
            self.order.done.set_exception(CommandFailedError(why, cancelled=True))
            self.order.done.exception()  # whoever waits for it sees it; if nobody does, that is no fault
        self.order = None

    def _serve(self, order: Order) -> None:
        if math.dist((self._drive.x, self._drive.y), order.goal.point) < 1e-3:
            order.done.set_result(None)
            self.order = None
            self._goal = None
            self._pause = 10.0
            self.doing = f"at {order.name}"
            self.docked = self._is_dock(order.name)
            return
        order.length = self._go(order.goal, f"driving to {order.name}")

    def _arrive(self) -> None:
        goal, self._goal = self._goal, None
        assert goal is not None  # noqa: S101
        if self._is_dock(goal):
            self.docked = True
            return
        self.carrying = not self.carrying if self._roads.stations[goal].kind == "station" else self.carrying
        self._pause = self._rng.uniform(2.0, 8.0)
        self.doing = f"waiting at {goal}"

    def _set_out(self) -> None:
        here = self._here()
        if self._battery.level < LOW and self._roads.destinations(lambda station: station.kind == "dock"):
            goal = self.nearest_dock()
        else:
            goals = [
                name for name in self._roads.destinations(_is_workplace) if self._roads.at(name).point != here.point
            ]
            goal = self._rng.choice(goals)
        self._goal = goal
        self._go(self._roads.at(goal), f"driving to {goal}")

    def _go(self, goal: Place, doing: str) -> float:
        self.docked = False
        self._battery.charging = False
        self.doing = doing
        self._drive.follow(self._roads.route(self._here(), goal))
        return self._drive.remaining

    def _here(self) -> Place:
        return self._roads.nearest(self._drive.x, self._drive.y)[0]

    def _is_dock(self, name: str) -> bool:
        station = self._roads.stations.get(name)
        return station is not None and station.kind == "dock"


def _is_workplace(station: Station) -> bool:
    return station.kind in ("station", "waypoint", "door", "lift")
