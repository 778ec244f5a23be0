"""What the driver's commands do.

A command succeeds when the vehicle is seen to have done it, and not when it is acknowledged. Nothing here disarms a
vehicle in the air: the value that forces MAV_CMD_COMPONENT_ARM_DISARM is not used.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from botyard_edge.driver import Geo
from botyard_plugins.mavlink import missions
from botyard_plugins.mavlink.geometry import distance
from botyard_plugins.mavlink.link import SilentError
from botyard_plugins.mavlink.order import AS_IT_IS, CHANGE_MODE, STEP, Order
from botyard_plugins.mavlink.vehicle import ACTIVE, COMPLETE

WAITS_AT_HOME = 15.0  # s at home without moving, after which a vehicle that does not land has returned
GROUND_SPEED, NO_THROTTLE = 1.0, -1.0  # of MAV_CMD_DO_CHANGE_SPEED
HEIGHT_WITHIN = 1.0  # m
# Seconds after leaving its mission within which a vehicle is seen to have ended it, and metres it may sink meanwhile.
ENDS_WITHIN, FALL = 3.0, 2.0
RETURN, LAND = "MAV_CMD_NAV_RETURN_TO_LAUNCH", "MAV_CMD_NAV_LAND"
FLYING = frozenset({"multicopter", "plane", "vtol"})

Args = Mapping[str, Any]
Result = dict[str, Any] | None


async def arm(order: Order, args: Args) -> Result:
    """In a mode in which it takes commands, so that it does not wait for a pilot."""
    del args
    if order.vehicle.armed:
        return None
    modes = order.modes
    if order.vehicle.mode != modes.guided:  # ArduCopter does not arm where it holds
        await order.change_mode(modes.guided)
    await order.ask("MAV_CMD_COMPONENT_ARM_DISARM", 1.0)
    await order.see(lambda: order.vehicle.armed, lambda: "armed")
    return None


async def disarm(order: Order, args: Args) -> Result:
    """On the ground only; where the vehicle does not say whether it flies, its autopilot refuses."""
    del args
    vehicle = order.vehicle
    if not vehicle.armed:
        return None
    if order.vehicle.on_ground is False:
        raise order.rejected("the vehicle flies; send land first")
    await order.ask("MAV_CMD_COMPONENT_ARM_DISARM", 0.0)
    await order.see(lambda: not vehicle.armed, lambda: "disarmed")
    return None


async def takeoff(order: Order, args: Args) -> Result:
    """Climb to so many metres above home."""
    vehicle, modes, wanted = order.vehicle, order.modes, float(args["altitude"])
    _need(order, FLYING)
    if modes.autopilot == "ArduPilot" and vehicle.kind == "plane":
        raise order.rejected("an ArduPilot plane takes off in its mode TAKEOFF, or in a mission")
    order.need_armed()
    order.take_over()
    unchanged = math.nan if modes.autopilot == "PX4" else 0.0
    altitude = wanted
    if modes.autopilot == "PX4":
        altitude += _home_altitude(order)  # PX4 takes it above the sea, ArduPilot above home
        flown = frozenset({"TAKEOFF", "VTOL_TAKEOFF", modes.hold})
    else:
        await order.change_mode(modes.guided)
        flown = frozenset({modes.guided})
    await order.ask("MAV_CMD_NAV_TAKEOFF", *(0.0, 0.0, 0.0), unchanged, unchanged, unchanged, altitude)
    if modes.autopilot == "PX4":
        await order.see(lambda: vehicle.mode in flown, lambda: f"taking off, but in {vehicle.mode}")
    within = max(HEIGHT_WITHIN, 0.05 * wanted)
    await order.reach(lambda: vehicle.height >= wanted - within, lambda: wanted - vehicle.height, flown)
    return {"height": round(vehicle.height, 2)}


async def goto(order: Order, args: Args) -> Result:
    """To a position on Earth."""
    return await _go(order, Geo(args["lat"], args["lon"]), args.get("altitude"), args.get("speed"))


async def goto_local(order: Order, args: Args) -> Result:
    """To a point on the plan."""
    if order.origin is None:
        raise order.rejected("the driver's option origin is not set")
    return await _go(order, order.origin.geo(args["x"], args["y"]), args.get("z"), args.get("speed"))


async def hold(order: Order, args: Args) -> Result:
    """Stay where it is."""
    del args
    order.need_no_pilot()
    order.take_over()
    if order.vehicle.armed:
        await order.hold()
    return None


async def rtl(order: Order, args: Args) -> Result:
    """Return home; done when it has landed, or has waited there."""
    del args
    vehicle, clock = order.vehicle, order.link.clock
    order.need_armed()
    order.take_over()
    modes = order.modes
    await order.ask_for(modes.returning, "MAV_CMD_NAV_RETURN_TO_LAUNCH")
    coming = modes.returning | modes.landing
    await order.see(lambda: vehicle.mode in coming, lambda: f"returning, but in {vehicle.mode}")
    moved = clock.monotonic()

    def left() -> float:
        nonlocal moved
        if not vehicle.at_rest:
            moved = clock.monotonic()
        return _way_home(order) + max(0.0, vehicle.height)

    def done() -> bool:
        waits = clock.monotonic() - moved >= WAITS_AT_HOME and _way_home(order) < order.options["goal_radius"]
        return vehicle.down or waits

    await order.reach(done, left, coming)
    return {"landed": vehicle.down}


async def land(order: Order, args: Args) -> Result:
    """Come down where it is; done when it is on the ground."""
    del args
    vehicle, modes = order.vehicle, order.modes
    _need(order, FLYING)
    if not vehicle.armed:
        return None
    order.need_no_pilot()
    if modes.land is None:
        raise order.rejected("an ArduPilot plane lands in a mission only")
    order.take_over()
    if modes.autopilot == "PX4":
        await order.ask_for(modes.landing, "MAV_CMD_NAV_LAND", *(0.0, 0.0, 0.0), *[math.nan] * 4)
        await order.see(
            lambda: vehicle.mode in modes.landing or vehicle.down, lambda: f"landing, but in {vehicle.mode}"
        )
    else:
        await order.change_mode(modes.land)
    await order.reach(lambda: vehicle.down, lambda: max(0.0, vehicle.height), modes.landing)
    return None


async def mode(order: Order, args: Args) -> Result:
    """Change to a mode of its autopilot; not to one of those that end the flight or need a pilot."""
    order.need_mode(args["mode"])
    order.take_over()
    await order.change_mode(args["mode"])
    return None


async def mission_upload(order: Order, args: Args) -> Result:
    """Store a mission in the vehicle."""
    vehicle, options = order.vehicle, order.options
    _need_no_mission(order)
    here = (vehicle.geo.lat, vehicle.geo.lon) if vehicle.geo is not None else None
    try:
        items = missions.plan(args["items"], home_first=order.modes.autopilot == "ArduPilot", here=here)
    except missions.RefusedMissionError as error:
        raise order.rejected(str(error)) from error
    try:
        await missions.upload(order.link, items, options["ack_timeout"], options["attempts"], order.progress)
    except missions.RefusedMissionError as error:
        raise order.failed(order.with_reason(str(error))) from error
    vehicle.mission_last = len(items) - 1
    vehicle.mission_end = (vehicle.mission_last, items[-1].command)
    return {"items": len(args["items"])}


async def mission_start(order: Order, args: Args) -> Result:
    """Fly the mission that is stored; done when its last item is reached."""
    del args
    vehicle, modes, clock = order.vehicle, order.modes, order.link.clock
    order.need_armed()
    await _know_mission(order)
    order.take_over()
    vehicle.reached.clear()
    if modes.autopilot == "ArduPilot":
        await order.ask("MAV_CMD_MISSION_START")
        await order.see(lambda: vehicle.mode == modes.mission, lambda: f"in its mission, but in {vehicle.mode}")
    else:
        await order.change_mode(modes.mission)
    vehicle.mission_current = told = 0  # what it said before may be of an earlier flight
    active = flew = False

    def finished() -> bool:
        return vehicle.mission_last in vehicle.reached or (active and vehicle.mission_state == COMPLETE)

    while True:
        order.go_on()
        active, flew = active or vehicle.mission_state == ACTIVE, flew or vehicle.on_ground is False
        at, last = vehicle.mission_current, vehicle.mission_last
        if finished():
            break
        if vehicle.mode != modes.mission or not vehicle.armed:
            if 0 < last <= at and await _ends(order, finished, flew=flew):
                break
            what = f"changed to {vehicle.mode}" if vehicle.armed else "switched its motors off"
            raise order.failed(order.with_reason(f"the vehicle {what} at item {at} of {last}"), cancelled=vehicle.armed)
        if at > told and last:
            told = at
            await order.progress(min(1.0, at / (last + 1)))
        await clock.sleep(STEP)
    return {"ended_in": vehicle.mode}


async def mission_clear(order: Order, args: Args) -> Result:
    """Remove the mission that is stored."""
    del args
    options = order.options
    _need_no_mission(order)
    try:
        await missions.clear(order.link, options["ack_timeout"], options["attempts"])
    except missions.RefusedMissionError as error:
        raise order.failed(order.with_reason(str(error))) from error
    order.vehicle.mission_last, order.vehicle.mission_end = 0, None
    return None


async def _know_mission(order: Order) -> None:
    """Ask for the end of a mission that was not stored by this driver, since it was begun or lost the vehicle: without
    it nobody could say when it is done. Raises CommandRejectedError."""
    vehicle, options = order.vehicle, order.options
    if vehicle.mission_end is not None:
        return
    try:
        last, command = await missions.last_stored(order.link, options["ack_timeout"], options["attempts"])
    except (missions.RefusedMissionError, SilentError) as error:
        raise order.rejected(f"the mission that is stored cannot be read: {error}") from error
    if last < (order.modes.autopilot == "ArduPilot"):  # whose item 0 is home
        raise order.rejected("no mission is stored; send mission_upload first")
    vehicle.mission_last, vehicle.mission_end = last, (last, command)


async def _ends(order: Order, finished: Callable[[], bool], *, flew: bool) -> bool:
    """Whether a vehicle that has left its mission on the last item did so because the mission ends there.

    The item that it says it is at is the one that it goes to, which may be far. So it has ended where it returns or
    lands as the item tells it, or is seen on the ground or to have finished; what tells that may come a little after
    the heartbeat. A pilot's mode ends no mission, and nor does the ground that a vehicle without motors falls to.
    """
    vehicle, modes, clock = order.vehicle, order.modes, order.link.clock
    coming = {RETURN: modes.returning | modes.landing, LAND: modes.landing}
    at, item = vehicle.mission_end or (-1, "")
    height, until = vehicle.height, clock.monotonic() + ENDS_WITHIN
    while True:
        if finished():
            return True
        if vehicle.armed and at == vehicle.mission_last and vehicle.mode in coming.get(item, ()):
            return True
        if flew and vehicle.kind in FLYING and vehicle.on_ground:
            return height - vehicle.height < FALL
        if clock.monotonic() >= until or (vehicle.armed and not vehicle.flies_itself):
            return False
        await clock.sleep(STEP)
        order.go_on()


async def _go(order: Order, goal: Geo, altitude: float | None, speed: float | None) -> Result:
    vehicle, modes = order.vehicle, order.modes
    order.need_armed()
    if vehicle.kind in FLYING and vehicle.on_ground:
        raise order.rejected("the vehicle is on the ground; send takeoff first")
    base = _home_altitude(order)
    order.take_over()
    if speed is not None:
        await order.ask("MAV_CMD_DO_CHANGE_SPEED", GROUND_SPEED, speed, NO_THROTTLE)
    height = vehicle.height if altitude is None else altitude
    dialect = order.link.dialect
    frame, up = dialect.MAV_FRAME_GLOBAL_RELATIVE_ALT, height
    if modes.autopilot == "PX4":
        frame, up = dialect.MAV_FRAME_GLOBAL, base + height  # PX4 takes it above the sea, whatever the frame
    place = (goal.lat, goal.lon, up)
    await order.ask_at("MAV_CMD_DO_REPOSITION", frame, place, AS_IT_IS, CHANGE_MODE, 0.0)
    await order.see(lambda: vehicle.mode == modes.guided, lambda: f"going there, but in {vehicle.mode}")
    near = order.options["goal_radius"]

    def apart() -> tuple[float, float]:
        over = distance(vehicle.geo, goal) if vehicle.geo is not None else math.inf
        return over, abs(vehicle.height - height) if vehicle.kind in FLYING else 0.0

    def done() -> bool:
        over, up = apart()
        return bool(over <= near and up <= max(HEIGHT_WITHIN, near))

    await order.reach(done, lambda: math.hypot(*apart()), frozenset({modes.guided}))
    return {"distance": round(apart()[0], 2), "height": round(vehicle.height, 2)}


def _need(order: Order, kinds: frozenset[str]) -> None:
    if order.vehicle.kind not in kinds:
        raise order.rejected(f"a {order.vehicle.kind or 'vehicle of this kind'} cannot fly")


def _need_no_mission(order: Order) -> None:
    vehicle = order.vehicle
    if vehicle.flies_itself and vehicle.mode == order.modes.mission:
        raise order.rejected("the vehicle flies a mission; send hold first")


def _home_altitude(order: Order) -> float:
    """Metres above the sea of what heights count from."""
    geo = order.vehicle.geo
    if geo is None or geo.alt is None:
        raise order.rejected("the vehicle does not know where it is yet")
    return geo.alt - order.vehicle.height


def _way_home(order: Order) -> float:
    """Metres over ground; 0 while one of the two places is not known."""
    geo, home = order.vehicle.geo, order.vehicle.home
    return distance(geo, home) if geo is not None and home is not None else 0.0
