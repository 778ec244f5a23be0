"""The dashboard's files, the API's own page, and what monitoring asks."""

from importlib.resources import files
from pathlib import Path

from quart import Blueprint, Response, send_from_directory
from quart_schema import document_response, hide, tag
from werkzeug.security import safe_join

from botyard.web.context import the_hub
from botyard.web.models import Problem
from botyard.web.openapi import plain_response
from botyard.web.problems import ApiError, missing, problem

blueprint = Blueprint("pages", __name__)

STATIC = Path(str(files("botyard").joinpath("static")))

# Swagger UI starts with an inline script usually; ours is a file, so that the content security policy can forbid those.
DOCS_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Botyard API</title><link rel="icon" href="/favicon.svg"><link rel="stylesheet" href="/swagger/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <noscript>This page needs JavaScript; the description itself is at /api/v1/openapi.json.</noscript>
  <script src="/swagger/swagger-ui-bundle.js"></script><script src="/api/docs/start.js"></script>
</body>
</html>
"""
DOCS_SCRIPT = """SwaggerUIBundle({
  url: "/api/v1/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""
NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Botyard</title>
<body style="font: 1rem/1.5 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<h1>The dashboard is not built</h1><p>This is a source checkout: run <code>make setup</code>. The API works already, see
<a href="/api/v1/openapi.json">its description</a>.</p>"""


@blueprint.get("/healthz")
@tag(["Hub"])
@plain_response(200, "It is.")
async def healthz() -> Response:
    """The process is alive."""
    return Response("ok\n", content_type="text/plain")


@blueprint.get("/readyz")
@tag(["Hub"])
@plain_response(200, "It does.")
@document_response(Problem, 503)
async def readyz() -> Response:
    """The hub takes messages in: its broker is connected and its store answers."""
    hub = the_hub()
    for transport in hub.transports:
        if not transport.connected:
            return problem(503, f"{transport.name} is not connected: {transport.error}")
    await hub.store.ping()
    return Response("ready\n", content_type="text/plain")


@blueprint.get("/api/docs")
@hide
async def docs() -> Response:
    return Response(DOCS_PAGE, content_type="text/html")


@blueprint.get("/api/docs/start.js")
@hide
async def docs_script() -> Response:
    return Response(DOCS_SCRIPT, content_type="text/javascript")


def _is_file(path: str) -> bool:
    """Whether it is a file of the dashboard. What lies outside is not even looked at."""
    inside = safe_join(str(STATIC), path)
    try:
        return inside is not None and Path(inside).is_file()
    except OSError:  # longer than a name may be
        return False


async def _sent(path: str) -> Response:
    """A file of the dashboard, read as a whole: they are small, and a client that leaves half way leaves none open."""
    response = await send_from_directory(STATIC, path)
    if response.status_code in (200, 206):
        response.set_data(await response.get_data(as_text=False))
    return response


@blueprint.get("/")
@blueprint.get("/<path:path>")
@hide
async def dashboard(path: str = "") -> Response:
    """A file of the dashboard; any other path is one of its pages, which it shows itself."""
    if path == "api" or path.startswith("api/"):
        raise ApiError(404, f"there is nothing at /{path}; /api/docs shows what there is")
    if path and _is_file(path):
        response = await _sent(path)
        # Vite puts a hash of the content into these names
        forever = path.startswith("assets/")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if forever else "no-cache"
        return response
    if "." in path.rpartition("/")[2]:
        missing("file", path)
    if not (STATIC / "index.html").is_file():
        return Response(NOT_BUILT, 503, content_type="text/html")
    response = await _sent("index.html")
    response.headers["Cache-Control"] = "no-cache"
    return response
