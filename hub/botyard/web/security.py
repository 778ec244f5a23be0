"""Who may make a request. Every request and every WebSocket passes the auth providers; the API needs their consent.

A hub that lets its own machine in without a password must not be usable by foreign web pages through a visitor's
browser. So the name in `Host` has to be one of ours (against DNS rebinding), and what changes something or opens a
WebSocket has to come from a page of ours (`Origin`).
"""

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from quart import Blueprint, Quart, Response, g, request, websocket
from quart.wrappers.base import BaseRequestWebsocket
from quart_schema import document_request, document_response, tag

from botyard.fleet.admission import authenticate
from botyard.plugin.api import Allow, Connection, Deny
from botyard.web.context import the_hub
from botyard.web.models import Problem
from botyard.web.openapi import plain_response
from botyard.web.problems import problem
from botyard.web.reply import read_body

if TYPE_CHECKING:
    from botyard.core.hub import Hub

COOKIE = "botyard_token"
SESSION = "/api/v1/session"
# What proxies say of themselves. One of them is enough: whoever forges one only gets less.
PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

blueprint = Blueprint("session", __name__)


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody shows to be let in."""

    token: str


def register(app: Quart, hub: "Hub") -> None:
    """Ask about every request and WebSocket before it is served."""
    names = names_of(hub)

    @app.before_request
    async def _request() -> Response | None:
        return await _gate(request, names, unsafe=request.method not in SAFE_METHODS)

    @app.before_websocket
    async def _websocket() -> Response | None:
        return await _gate(websocket, names, unsafe=True)

    @app.after_request
    async def _headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", CSP)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        if request.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def names_of(hub: "Hub") -> set[str]:
    """The names under which the hub may be addressed, beside IP addresses."""
    return {"localhost", socket.gethostname().lower(), *(name.lower() for name in hub.config.web.allowed_hosts)}


def refusal(incoming: BaseRequestWebsocket, names: set[str], *, unsafe: bool) -> Response | None:
    """What is answered to whoever asks under another name, or from a page of others; None when neither is so."""
    if not _host_is_ours(incoming.host, names):
        return problem(
            421, f"this hub is not called {incoming.host!r}; add the name to web.allowed_hosts", instance=incoming.path
        )
    origin = incoming.headers.get("Origin")
    if unsafe and origin and not _is_page_of(origin, incoming.host):
        return problem(403, f"pages of {origin} may not use this hub", instance=incoming.path)
    return None


async def _gate(incoming: BaseRequestWebsocket, names: set[str], *, unsafe: bool) -> Response | None:
    if response := refusal(incoming, names, unsafe=unsafe):
        return response
    access = await authenticate(the_hub().auth, _connection(incoming, token_of(incoming)))
    if isinstance(access, Allow):
        g.actor = access.actor
        return None
    if incoming.path.startswith("/api/") and incoming.path != SESSION:
        response = problem(401, access.reason, instance=incoming.path)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    return None  # the pages themselves hold no secret, and one of them asks for the token


def token_of_request() -> str | None:
    """The token that came with the current request."""
    return token_of(request)


def token_of(incoming: BaseRequestWebsocket) -> str | None:
    """The token that came with a request or WebSocket."""
    scheme, _, value = incoming.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return incoming.cookies.get(COOKIE)


def is_forwarded(incoming: BaseRequestWebsocket) -> bool:
    """Whether a proxy says that it stands in between."""
    return any(name in incoming.headers for name in PROXY_HEADERS)


def _connection(incoming: BaseRequestWebsocket, token: str | None) -> Connection:
    return Connection(
        "request",
        "http",
        incoming.remote_addr,
        forwarded=is_forwarded(incoming),
        token=token,
        method=incoming.method,
        path=incoming.path,
    )


def _is_page_of(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no URL at all
        return False


def _host_is_ours(host: str, names: set[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not close
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in names
    return True


@blueprint.post(SESSION)
@tag(["Hub"])
@document_request(Credentials)
@plain_response(204, "The cookie is set.")
@document_response(Problem, 401)
async def session() -> Response:
    """Show the access token once; a cookie then lets the browser in."""
    credentials = await read_body(Credentials)
    access = await authenticate(the_hub().auth, _connection(request, credentials.token))
    if isinstance(access, Deny):
        return problem(401, access.reason, "token", instance=request.path)
    response = Response(b"", 204)
    response.set_cookie(
        COOKIE, credentials.token, max_age=365 * 86400, httponly=True, samesite="Strict", secure=request.is_secure
    )
    return response
