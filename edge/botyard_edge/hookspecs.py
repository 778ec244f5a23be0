"""The hooks of the edge, all of them. Hooks stay synchronous and return objects; the objects do the work."""

from collections.abc import Iterable

import pluggy

from botyard_edge.driver import DriverSpec

hookspec = pluggy.HookspecMarker("botyard_edge")
hookimpl = pluggy.HookimplMarker("botyard_edge")


@hookspec
def botyard_edge_drivers() -> Iterable[DriverSpec]:  # type: ignore[empty-body]
    """Return the drivers that this plugin brings. The results of all plugins count; None means that it brings none."""
