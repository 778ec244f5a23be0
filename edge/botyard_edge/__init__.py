"""What runs on a robot: drivers, outbox and link, in one small runtime.

Integrators need `botyard_edge.driver` (what a driver is) and `botyard_edge.testing` (memory broker and virtual clock).
Inside, a driver publishes into `telemetry` and `state`, both put messages into the `outbox`, and the `link` carries
them to the hub over a `transport`. `runtime` composes these; clock, randomness and transport are passed in, so that
many robots can run in one process on virtual time.
"""

import sys

# msgspec prefers typing_extensions to typing when it is there. Since Python 3.11 it gets nothing from it that typing
# does not have, but 1.4 MB of memory and a tenth of the time until a robot is up.
_ABSENT = "typing_extensions" not in sys.modules
if _ABSENT:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
try:
    from botyard_schemas import __version__
finally:
    if _ABSENT:
        del sys.modules["typing_extensions"]

__all__ = ["__version__"]
