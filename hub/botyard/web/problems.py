"""Errors as problem documents (RFC 9457). Only here do exceptions become HTTP status codes."""

import logging
from http import HTTPStatus
from typing import NoReturn

import msgspec
from quart import Quart, Response, has_websocket_context, request, websocket
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.exceptions import HTTPException

from botyard.store.base import InvalidCursorError, StoreError
from botyard.web.models import Problem

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A request cannot be done; `detail` is a full sentence, `field` names the offending part of the request."""

    def __init__(self, status: int, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field


def bad(field: str, detail: str) -> NoReturn:
    """Refuse the request because of one field."""
    raise ApiError(HTTPStatus.BAD_REQUEST, f"{field}: {detail}", field)


def missing(what: str, name: str) -> NoReturn:
    """There is no such thing."""
    raise ApiError(HTTPStatus.NOT_FOUND, f"there is no {what} {name!r}")


def problem(status: int, detail: str | None, field: str | None = None, *, instance: str | None = None) -> Response:
    """A problem document as a response."""
    document = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, field=field, instance=instance)
    return Response(msgspec.json.encode(document), status, content_type="application/problem+json")


def _incoming() -> BaseRequestWebsocket:
    """The request or the WebSocket that is being served."""
    return websocket if has_websocket_context() else request


def register(app: Quart) -> None:
    """Turn everything that request handlers raise into problem documents."""

    @app.errorhandler(ApiError)
    async def _api_error(error: ApiError) -> Response:
        return problem(error.status, error.detail, error.field, instance=_incoming().path)

    @app.errorhandler(InvalidCursorError)
    async def _cursor(error: InvalidCursorError) -> Response:
        return problem(HTTPStatus.BAD_REQUEST, str(error), "cursor", instance=_incoming().path)

    @app.errorhandler(StoreError)
    async def _store(error: StoreError) -> Response:
        log.error("%s %s: the store failed: %s", _incoming().method, _incoming().path, error)
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE, f"the store cannot answer now: {error}", instance=_incoming().path
        )

    @app.errorhandler(HTTPException)
    async def _http(error: HTTPException) -> Response:
        response = problem(error.code or 500, error.description, instance=_incoming().path)
        for name, value in error.get_headers():
            if name not in ("Content-Type", "Content-Length"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    async def _unexpected(error: Exception) -> Response:
        log.error("%s %s failed", _incoming().method, _incoming().path, exc_info=error)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "the hub made a mistake; its log says more", instance=_incoming().path
        )
