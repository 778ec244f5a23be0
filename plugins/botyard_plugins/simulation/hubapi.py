"""A real hub as the simulator sees it: over its public API, as any operator does."""

from collections.abc import Mapping
from typing import Any, Self, TypeVar

import httpx
import msgspec

from botyard.web.models import (
    Command,
    CommandPage,
    EventPage,
    EventView,
    HubView,
    QuarantinedView,
    QuarantinePage,
    Robot,
    RobotPage,
    SampleCounts,
    StreamPositions,
)
from botyard_schemas.clock import Clock

TOGETHER = 8
# Seconds for one answer. Counting all samples of a large store takes its time.
TIMEOUT = 60.0
# Seconds between two attempts while the hub is away.
AGAIN = 0.5
PAGE = 1000
# Refused messages that are told of.
REFUSED = 100
# A hub that says so is starting, ending, or behind a proxy that does not reach it.
AWAY = frozenset({502, 503, 504})

T = TypeVar("T")


class NoAnswerError(Exception):
    """The hub has not answered, and why."""


class RefusedError(Exception):
    """The hub has answered that it does not do so, and why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class HubApi:
    """Asks while its `async with` lasts. While the hub is away it is asked again for `patience` seconds.

    Everything raises NoAnswerError and RefusedError.
    """

    def __init__(self, url: str, token: str | None, clock: Clock, patience: float) -> None:
        self.url = url.rstrip("/")
        self.patience = patience
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._clock = clock

    async def __aenter__(self) -> Self:
        limits = httpx.Limits(max_connections=TOGETHER, max_keepalive_connections=TOGETHER)
        self._client = httpx.AsyncClient(
            headers=self._headers, timeout=httpx.Timeout(TIMEOUT, pool=None), limits=limits, trust_env=False
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def hub(self, patience: float | None = None) -> HubView:
        """The hub itself."""
        return await self._get("hub", HubView, patience=patience)

    async def robots(self) -> list[Robot]:
        """All robots, retired ones too."""
        found: list[Robot] = []
        cursor: str | None = None
        while True:
            page = await self._get("robots", RobotPage, registration="any", limit=PAGE, cursor=cursor)
            found += page.items
            if (cursor := page.next) is None:
                return found

    async def request(self, robot: str, body: Mapping[str, Any], patience: float) -> None:
        """Ask for a command; its `id` makes it harmless to ask again."""
        await self._ask("POST", f"robots/{robot}/commands", {}, body, patience)

    async def commands(self, robot: str, wanted: set[str]) -> dict[str, Command]:
        """Those of these commands that the hub knows, by their ids; newest first, so it stops with the last of them."""
        found: dict[str, Command] = {}
        cursor: str | None = None
        while True:
            page = await self._get(f"robots/{robot}/commands", CommandPage, limit=PAGE, cursor=cursor)
            found |= {one.id: one for one in page.items if one.id in wanted}
            if (cursor := page.next) is None or len(found) == len(wanted):
                return found

    async def counts(self) -> dict[tuple[str, str], int]:
        """How many samples are stored, by robot and channel."""
        found = await self._get("readings/counts", SampleCounts)
        return {(one.robot, one.channel): one.count for one in found.items}

    async def positions(self) -> dict[tuple[str, str], int]:
        """The number up to which everything is committed, by robot and epoch."""
        found = await self._get("streams", StreamPositions)
        return {(one.robot, one.epoch): one.seq for one in found.items}

    async def events(self, since: int) -> list[EventView]:
        """What happened since this hub time, newest first."""
        found: list[EventView] = []
        cursor: str | None = None
        while True:
            page = await self._get("events", EventPage, limit=PAGE, cursor=cursor, **{"from": since})
            found += page.items
            if (cursor := page.next) is None:
                return found

    async def refused(self, since: int) -> list[QuarantinedView]:
        """The latest messages that were refused since this hub time."""
        page = await self._get("quarantine", QuarantinePage, limit=REFUSED)
        return [one for one in page.items if one.received >= since]

    async def _get(self, path: str, kind: type[T], *, patience: float | None = None, **query: Any) -> T:
        query = {name: value for name, value in query.items() if value is not None}
        content = await self._ask("GET", path, query, None, self.patience if patience is None else patience)
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusedError(200, f"its answer to {path} is not a hub's: {error}") from error

    async def _ask(
        self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any] | None, patience: float
    ) -> bytes:
        until = self._clock.monotonic() + patience
        while True:
            try:
                answer = await self._client.request(method, f"{self.url}/api/v1/{path}", params=dict(query), json=body)
                if answer.status_code not in AWAY:
                    return _content(answer)
                why = _detail(answer)
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
            except httpx.InvalidURL as error:
                raise NoAnswerError(str(error)) from error
            if self._clock.monotonic() + AGAIN > until:
                raise NoAnswerError(why)
            await self._clock.sleep(AGAIN)


def _content(answer: httpx.Response) -> bytes:
    if answer.is_success:
        return answer.content
    raise RefusedError(answer.status_code, _detail(answer))


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {answer.status_code}"
