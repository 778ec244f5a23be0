"""The limits of a policy as rows: for people at the robot, for its state, and for the hub."""

from botyard_edge.safety.policy import Policy
from botyard_schemas.messages import Limit

# Limits of commands, and their units; what they do with one that exceeds them is the policy's choice.
COMMANDED = {"max_speed": "m/s", "max_angular_speed": "rad/s", "max_acceleration": "m/s2"}
# Limits of what is measured: past them the robot goes to safe mode.
MEASURED = {"min_battery": "1", "max_temperature": "Cel", "max_tilt": "rad"}


def declared(policy: Policy) -> dict[str, Limit]:
    """All limits that are set, by name; of areas, how many there are."""
    limits = policy.limits
    rows = {
        name: Limit(value, unit, "clamp" if limits.clamps(name) else "reject")
        for name, unit in COMMANDED.items()
        if (value := getattr(limits, name)) is not None
    }
    rows |= {
        name: Limit(value, unit, "safe")
        for name, unit in MEASURED.items()
        if (value := getattr(limits, name)) is not None
    }
    for name in ("geofence", "keep_out"):
        if polygons := getattr(limits, name).polygons:
            rows[name] = Limit(float(len(polygons)), "1", "safe")
    return rows
