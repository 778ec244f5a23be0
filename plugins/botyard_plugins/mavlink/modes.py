"""Flight modes of PX4 and ArduPilot, as data: what each is called, and which of them the driver's commands use.

PX4 packs a mode and a sub-mode into HEARTBEAT.custom_mode (bits 16 to 23 and 24 to 31; PX4-Autopilot,
src/modules/commander/px4_custom_mode.h). ArduPilot has a number for each mode of each kind of vehicle, which are the
enumerations COPTER_MODE, PLANE_MODE, ROVER_MODE and SUB_MODE of its dialect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["multicopter", "plane", "vtol", "rover", "boat", "submarine"]

_KINDS: dict[Kind, tuple[int, ...]] = {  # by MAV_TYPE
    "plane": (1,),
    "multicopter": (2, 3, 4, 13, 14, 15, 29, 35, 43),
    "rover": (10,),
    "boat": (11,),
    "submarine": (12,),
    "vtol": (19, 20, 21, 22, 23, 24, 25),
}
PX4, ARDUPILOT = 12, 3  # MAV_AUTOPILOT

_PX4_MAIN = {1: "MANUAL", 2: "ALTCTL", 3: "POSCTL", 5: "ACRO", 6: "OFFBOARD", 7: "STABILIZED", 10: "TERMINATION"}
_PX4_AUTO = {
    1: "READY",
    2: "TAKEOFF",
    3: "LOITER",
    4: "MISSION",
    5: "RTL",
    6: "LAND",
    8: "FOLLOWME",
    9: "PRECLAND",
    10: "VTOL_TAKEOFF",
}
_AUTO, _POSCTL, _ORBIT = 4, 3, 1
# What nobody may choose from afar: modes that end the flight or overturn the vehicle, that run motors for a purpose of
# their own, or that hand the bare controls to a pilot who may not be there.
_PX4_NEVER = frozenset({"TERMINATION", "ACRO", "STABILIZED"})
_ARDUPILOT_NEVER = frozenset(
    {
        *("STABILIZE", "ACRO", "FLIP", "THROW", "TURTLE", "SPORT", "DRIFT", "AUTOTUNE", "SYSTEMID", "AUTOROTATE"),
        *("TRAINING", "QSTABILIZE", "QACRO", "QAUTOTUNE", "MOTORDETECT", "INITIALIZING", "AVOID_ADSB"),
    }
)


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes of one kind of vehicle. `own`: the vehicle moves by itself in them, in all others a pilot flies it.

    `never` are those that are not commanded, only shown.

    `hold` is where it stays, `guided` where it goes to points it is told, `land` where it comes down on request, and
    `landing` and `returning` are all in which it comes down or home.
    """

    autopilot: Literal["PX4", "ArduPilot"]
    numbers: Mapping[str, int]
    own: frozenset[str]
    hold: str
    guided: str
    mission: str
    land: str | None = None
    landing: frozenset[str] = frozenset()
    returning: frozenset[str] = frozenset({"RTL"})
    never: frozenset[str] = frozenset()
    names: Mapping[int, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", {number: name for name, number in self.numbers.items()})

    def name(self, custom: int) -> str:
        """What a mode is called; one that is not known by its number."""
        return (
            self.names.get(custom)
            or (self.names.get(custom & 0xFF0000) if self.autopilot == "PX4" else None)
            or (f"mode {custom}")
        )

    def parameters(self, name: str) -> tuple[int, int]:
        """Mode and sub-mode for MAV_CMD_DO_SET_MODE."""
        number = self.numbers[name]
        return (number >> 16 & 0xFF, number >> 24 & 0xFF) if self.autopilot == "PX4" else (number, 0)


_COPTER = {"AUTO", "GUIDED", "GUIDED_NOGPS", "RTL", "SMART_RTL", "AUTO_RTL", "LAND", "BRAKE", "FOLLOW", "CIRCLE"}
_PLANE = {"AUTO", "GUIDED", "RTL", "QRTL", "LOITER", "CIRCLE", "TAKEOFF", "QLAND", "LOITER_ALT_QLAND", "AUTOLAND"}
_ROVER = {"AUTO", "GUIDED", "RTL", "SMART_RTL", "HOLD", "LOITER", "FOLLOW", "DOCK", "CIRCLE"}
_SUB = {"AUTO", "GUIDED", "CIRCLE", "SURFACE", "POSHOLD"}


def kind_of(mav_type: int) -> Kind | None:
    """What kind of vehicle a MAV_TYPE is; None: none that this driver can command."""
    return next((kind for kind, types in _KINDS.items() if mav_type in types), None)


def modes_of(dialect: Any, autopilot: int, kind: Kind | None) -> Modes | None:
    """The modes of a vehicle. None: its autopilot is neither PX4 nor ArduPilot, or the vehicle is of no known kind."""
    if kind is None:
        return None
    if autopilot == PX4:
        return _px4(kind)
    if autopilot != ARDUPILOT:
        return None
    if kind == "multicopter":
        # In LOITER the throttle stick decides on climb and descent, and there may be none. BRAKE asks nobody.
        return _ardupilot(
            dialect, kind, "COPTER_MODE", _COPTER, "BRAKE", "LAND", {"LAND"}, {"RTL", "SMART_RTL", "AUTO_RTL"}
        )
    if kind in ("plane", "vtol"):
        land = "QLAND" if kind == "vtol" else None
        return _ardupilot(dialect, kind, "PLANE_MODE", _PLANE, "LOITER", land, {"QLAND", "AUTOLAND"}, {"RTL", "QRTL"})
    if kind == "submarine":
        return _ardupilot(dialect, kind, "SUB_MODE", _SUB, "POSHOLD", None, {"SURFACE"}, set())
    return _ardupilot(dialect, kind, "ROVER_MODE", _ROVER, "HOLD", None, set(), {"RTL", "SMART_RTL"})


def _px4(kind: Kind) -> Modes:
    numbers = {name: main << 16 for main, name in _PX4_MAIN.items()}
    numbers |= {name: _AUTO << 16 | sub << 24 for sub, name in _PX4_AUTO.items()}
    numbers["ORBIT"] = _POSCTL << 16 | _ORBIT << 24
    own = frozenset({*_PX4_AUTO.values(), "OFFBOARD", "ORBIT"})
    landing = frozenset({"LAND", "PRECLAND"})
    return Modes(
        "PX4",
        numbers,
        own,
        hold="LOITER",
        guided="LOITER",
        mission="MISSION",
        land="LAND",
        landing=landing,
        never=_never(kind, _PX4_NEVER),
    )


def _ardupilot(
    dialect: Any,
    kind: Kind,
    enumeration: str,
    own: set[str],
    hold: str,
    land: str | None,
    landing: set[str],
    returning: set[str],
) -> Modes:
    return Modes(
        "ArduPilot",
        _numbers(dialect, enumeration),
        frozenset(own),
        hold,
        guided="GUIDED",
        mission="AUTO",
        land=land,
        landing=frozenset(landing),
        returning=frozenset(returning),
        never=_never(kind, _ARDUPILOT_NEVER),
    )


def _never(kind: Kind, names: frozenset[str]) -> frozenset[str]:
    """MANUAL is bare controls for what flies or dives; what stands on the ground or floats just stays."""
    return names if kind in ("rover", "boat") else names | {"MANUAL"}


def _numbers(dialect: Any, enumeration: str) -> dict[str, int]:
    prefix = f"{enumeration}_"
    return {
        entry.name.removeprefix(prefix): number
        for number, entry in dialect.enums[enumeration].items()
        if not entry.name.endswith("ENUM_END")
    }
