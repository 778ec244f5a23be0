"""The local page and its HTTP API: who may ask for what, and what is answered.

A page on loopback can be reached by every web page that its visitor has open, and by every user of the machine. So the
name in `Host` has to be one of ours (against DNS rebinding), what changes something has to come from our own page
(`Origin`, and a header of ours, which no other page may send without our consent, and we give none), and clearing needs
the key that `botyard-edge status` tells to whoever may read the robot's files. Everybody on the machine may look, and
may stop the robot.
"""

import base64
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import os
import re
import secrets
import socket
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import msgspec

from botyard_edge.local.http import HttpReply, HttpRequest, HttpServer
from botyard_edge.local.status import Face
from botyard_edge.safety import ClearRefusedError

log = logging.getLogger(__name__)

# What every request that changes something has to say: see above.
OURS = ("x-botyard", "local")
STATUS, STOP, CLEAR = "/api/v1/status", "/api/v1/estop", "/api/v1/estop/clear"
METHODS = {"/": ("GET", "HEAD"), STATUS: ("GET", "HEAD"), STOP: ("POST",), CLEAR: ("POST",)}


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Where the page is. On another host than loopback everything but the empty page needs the key."""

    host: str = "127.0.0.1"
    port: int = 8090

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


class Wish(msgspec.Struct):
    """What comes with a request that changes something. `robot` is the one that is meant: at this port another robot's
    page may have been before."""

    robot: str
    who: str = ""
    reason: str = ""


class RefusalError(Exception):
    """A request that is not served: the status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class LocalPage:
    """The page while its `async with` lasts. `key_file` None: there is nowhere to keep a key, so nothing can be cleared
    here."""

    def __init__(self, face: Face, settings: PageSettings, key_file: Path | None) -> None:
        self._face = face
        self._settings = settings
        self._key_file = key_file
        self._key: str | None = None
        self._server = HttpServer(settings.host, settings.port, self.answer)
        self._names = {"localhost", socket.gethostname().lower()}

    async def __aenter__(self) -> Self:
        if self._key_file is not None:
            try:
                self._key = _key_in(self._key_file)
            except OSError as error:
                log.warning(
                    "%s cannot be written, so nothing can be cleared on the local page: %s", self._key_file, error
                )
        await self._server.__aenter__()
        if self._server.port is not None:
            log.info("the local page is at %s", self.address)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._server.__aexit__(*exc)

    @property
    def address(self) -> str | None:
        """Where it is; None: it could not be opened."""
        if self._server.port is None:
            return None
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"http://{host}:{self._server.port}/"

    @property
    def address_with_key(self) -> str | None:
        """The same, for who may clear. What stands behind `#` never leaves the browser."""
        address = self.address
        return address if address is None or self._key is None else f"{address}#key={self._key}"

    def answer(self, request: HttpRequest) -> HttpReply:
        """Serve one request."""
        try:
            return self._serve(request)
        except RefusalError as refusal:
            problem = {"status": refusal.status, "detail": str(refusal)}
            return _json(refusal.status, problem, "application/problem+json", *_more(refusal.status, request))

    def _serve(self, request: HttpRequest) -> HttpReply:
        path = request.target.partition("?")[0]
        self._check_host(request)
        if path not in METHODS:
            raise RefusalError(404, f"there is nothing at {path}; the page is at /, and {STATUS} has its data")
        if request.method not in METHODS[path]:
            raise RefusalError(
                405, f"{request.method} is nothing that {path} does, expected {' or '.join(METHODS[path])}"
            )
        if path == "/":
            return self._page
        known = self._knows_key(request)
        if not known and not self._settings.loopback:
            raise RefusalError(
                401, "from other machines this needs the key that `botyard-edge status` prints at the robot"
            )
        if path == STATUS:
            return _json(200, self._face.status())
        self._check_origin(request)
        wish = _wish(request, self._face.robot)
        if path == STOP:
            self._face.stop(wish.who, wish.reason)
        else:
            self._clear(wish, known)
        return _json(200, self._face.status())

    def _clear(self, wish: Wish, known: bool) -> None:
        if not known:
            raise RefusalError(401, "clearing needs the key that `botyard-edge status` prints at the robot")
        if not wish.reason.strip():
            raise RefusalError(400, "reason: is empty, expected why the robot may move again")
        try:
            self._face.clear(wish.who, wish.reason)
        except ClearRefusedError as error:
            raise RefusalError(409, str(error)) from error

    def _check_host(self, request: HttpRequest) -> None:
        given = request.headers.get("host", "")
        try:
            name = urlsplit(f"//{given}").hostname or ""
        except ValueError:
            name = ""
        if not (name in self._names or self._is_address(name)):
            raise RefusalError(421, f"this robot is not called {given!r}; ask for it at {self.address}")

    def _is_address(self, name: str) -> bool:
        """An address needs no name server, so nobody can have turned it round; on loopback only loopback is ours."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(name).is_loopback or not self._settings.loopback
        return False

    def _check_origin(self, request: HttpRequest) -> None:
        origin, host = request.headers.get("origin"), request.headers.get("host")
        if origin is not None and origin != f"http://{host}":
            raise RefusalError(403, f"pages of {origin} may not use this robot")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise RefusalError(403, "pages of others may not use this robot")
        name, value = OURS
        if request.headers.get(name) != value:
            raise RefusalError(403, f"the header {name.title()}: {value} is missing")

    def _knows_key(self, request: HttpRequest) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self._key is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._key.encode())

    @cached_property
    def _page(self) -> HttpReply:
        """The page, which holds nothing of the robot, and may load nothing and run nothing but its own."""
        html = files("botyard_edge.local").joinpath("page.html").read_text(encoding="utf-8")
        allowed = "; ".join(
            f"{kind}-src '{_digest(html, tag)}'" for kind, tag in (("script", "script"), ("style", "style"))
        )
        policy = (
            f"default-src 'none'; {allowed}; connect-src 'self'; img-src data:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return HttpReply(200, html.encode(), "text/html; charset=utf-8", (("Content-Security-Policy", policy),))


def _wish(request: HttpRequest, robot: str) -> Wish:
    try:
        wish = msgspec.json.decode(request.body, type=Wish)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RefusalError(400, f"not a request: {error}") from error
    if wish.robot != robot:
        raise RefusalError(409, f"robot: {wish.robot!r} is meant, and this is {robot!r}; load the page anew")
    return wish


def _json(status: int, content: object, kind: str = "application/json", *more: tuple[str, str]) -> HttpReply:
    return HttpReply(status, msgspec.json.encode(content), kind, more)


def _more(status: int, request: HttpRequest) -> list[tuple[str, str]]:
    if status == 405:
        return [("Allow", ", ".join(METHODS[request.target.partition("?")[0]]))]
    return [("WWW-Authenticate", "Bearer")] if status == 401 else []


def _digest(html: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    content = found[1] if found else ""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _key_in(path: Path) -> str:
    """The key in the file, which is made when there is none. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if (known := path.read_text(encoding="ascii", errors="replace").strip()).isalnum():
            return known
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    key = secrets.token_hex(16)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(key + "\n")
    return key
