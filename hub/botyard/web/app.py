"""Puts the web application together."""

from typing import TYPE_CHECKING

from quart import Quart
from quart_schema import Info, QuartSchema
from quart_schema.openapi import HttpSecurityScheme, Tag

from botyard.web import (
    account,
    calibration,
    commands,
    context,
    events,
    pages,
    problems,
    readings,
    robots,
    security,
    socket,
    store,
)
from botyard.web.feed import Feed
from botyard.web.numbering import Numbering
from botyard.web.openapi import ApiDescription
from botyard_schemas import __version__

if TYPE_CHECKING:
    from botyard.core.hub import Hub

MAX_BODY = 16 * 1024 * 1024


def build_app(hub: "Hub", feed: Feed) -> Quart:
    """The application that serves one hub."""
    app = Quart("botyard", static_folder=None)
    app.extensions[context.KEY] = hub
    app.extensions[context.KEY + ".feed"] = feed
    app.extensions[context.KEY + ".numbering"] = Numbering()
    app.config["MAX_CONTENT_LENGTH"] = max(MAX_BODY, 4 * hub.config.ingest.max_message_bytes)
    QuartSchema(
        app,
        openapi_path="/api/v1/openapi.json",
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        conversion_preference="msgspec",
        openapi_provider_class=ApiDescription,
        info=Info(
            title="Botyard",
            version=__version__,
            description="The hub's API. Times are microseconds since 1970-01-01T00:00:00Z. Errors are problem "
            "documents (RFC 9457). Live changes come over the WebSocket `/api/v1/ws`, see the documentation.",
        ),
        tags=[Tag(name=name) for name in ("Robots", "Commands", "Readings", "Events", "Sites", "Hub")],
        security_schemes={"token": HttpSecurityScheme(scheme="bearer")},
        security=[{"token": []}],
    )
    problems.register(app)
    security.register(app, hub)
    for module in (robots, commands, calibration, readings, account, events, store, socket, security, pages):
        app.register_blueprint(module.blueprint)
    return app
