"""What runs on a robot: drivers, outbox and link, in one small runtime.

Integrators need `botyard_edge.driver` (what a driver is) and `botyard_edge.testing` (memory broker and virtual clock).
Inside, a driver publishes into `telemetry` and `state`, both put messages into the `outbox`, and the `link` carries
them to the hub over a `transport`. `runtime` composes these; clock, randomness and transport are passed in, so that
many robots can run in one process on virtual time.
"""

from botyard_schemas import __version__

__all__ = ["__version__"]
