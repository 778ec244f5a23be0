"""What a command's own schema says of one of its arguments."""

import math

from botyard_edge.driver import CommandSpec


def bounds(spec: CommandSpec, argument: str) -> tuple[float | None, float | None]:
    """The least and the most that the schema allows; None: it does not say."""
    schema = spec.args.get("properties", {}).get(argument, {})
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None and (low := schema.get("exclusiveMinimum")) is not None:
        least = math.nextafter(low, math.inf)
    if most is None and (high := schema.get("exclusiveMaximum")) is not None:
        most = math.nextafter(high, -math.inf)
    return least, most
