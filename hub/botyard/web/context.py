"""How request handlers reach the hub that they belong to."""

from typing import TYPE_CHECKING, cast

from quart import current_app, g

from botyard.core.actor import Actor

if TYPE_CHECKING:
    from botyard.core.hub import Hub
    from botyard.web.feed import Feed
    from botyard.web.numbering import Numbering

KEY = "botyard"


def the_hub() -> "Hub":
    """The hub that serves the current request."""
    return cast("Hub", current_app.extensions[KEY])


def the_feed() -> "Feed":
    """The feed of changes of the hub that serves the current request."""
    return cast("Feed", current_app.extensions[KEY + ".feed"])


def the_numbering() -> "Numbering":
    """Numbers messages that came over HTTP without numbers."""
    return cast("Numbering", current_app.extensions[KEY + ".numbering"])


def the_actor() -> Actor:
    """Who makes the current request."""
    return cast("Actor", g.actor)
