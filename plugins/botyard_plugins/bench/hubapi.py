"""The hub as a benchmark sees it: over its public API."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import httpx

from botyard_plugins.bench.processes import BenchError

TOGETHER = 8
ATTEMPTS = 3
TIMEOUT = 60.0


class HubApi:
    """Asks while the `async with` lasts. Everything raises BenchError when the hub does not answer as it should."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __aenter__(self) -> Self:
        limits = httpx.Limits(max_connections=TOGETHER, max_keepalive_connections=TOGETHER)
        self._client = httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=TIMEOUT, limits=limits, trust_env=False
        )
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._client.aclose()

    async def until_ready(self, within: float, ended: Callable[[], bool]) -> None:
        """Wait for `/readyz`. `ended` says that there is nothing to wait for."""
        why = "it gives no answer"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not ended():
                    try:
                        answer = await self._client.get("/readyz")
                        if answer.status_code == 200:
                            return
                        why = f"it answers with HTTP status {answer.status_code}"
                    except httpx.HTTPError as error:
                        why = str(error) or type(error).__name__
                    await asyncio.sleep(0.05)
                why = "it ended by itself"
        raise BenchError(f"the hub at {self._url} is not ready: {why}")

    async def hub(self) -> dict[str, Any]:
        """What the hub says of itself."""
        return await self._json("/api/v1/hub")

    async def store(self) -> dict[str, Any] | None:
        """What the hub says of its store; None from one that cannot say it."""
        answer = await self._get("/api/v1/store", {})
        if answer.status_code in (404, 405) or "json" not in answer.headers.get("content-type", ""):
            return None
        body: dict[str, Any] = self._checked(answer).json()
        return body

    async def compact(self) -> None:
        """Bring all telemetry into its final form now; a hub that cannot is left alone."""
        with contextlib.suppress(httpx.HTTPError):
            await self._client.post("/api/v1/store/compact")

    async def count(self, robot: str, channel: str, start: int, end: int) -> int:
        """How many samples of a channel the store holds from `start` to before `end`, microseconds since 1970."""
        query = {"robot": robot, "channel": channel, "from": start, "to": end, "bucket": max(1.0, (end - start) / 1e6)}
        answer = await self._get("/api/v1/readings/aggregate", query)
        if answer.status_code == 404:
            return 0
        return sum(bucket["count"] for bucket in self._checked(answer).json()["items"])

    async def remove(self, robot: str) -> None:
        """Remove a robot with everything that it sent."""
        with contextlib.suppress(httpx.HTTPError):
            await self._client.delete(f"/api/v1/robots/{robot}")

    async def _json(self, path: str) -> dict[str, Any]:
        body: dict[str, Any] = self._checked(await self._get(path, {})).json()
        return body

    async def _get(self, path: str, query: dict[str, Any]) -> httpx.Response:
        for attempt in range(ATTEMPTS):
            try:
                return await self._client.get(path, params=query)
            except httpx.HTTPError as error:
                if attempt == ATTEMPTS - 1:
                    sentence = str(error) or type(error).__name__
                    raise BenchError(f"the hub at {self._url} does not answer {path}: {sentence}") from error
        raise AssertionError

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if not answer.is_error:
            return answer
        detail = f"HTTP status {answer.status_code}"
        with contextlib.suppress(ValueError, KeyError, TypeError):
            detail = answer.json()["detail"]
        raise BenchError(f"the hub at {self._url} refuses {answer.url.path}: {detail}")


async def each(jobs: Sequence[Callable[[], Awaitable[None]]], done: Callable[[int, int], None]) -> None:
    """Do all jobs, some at a time; `done` hears how many of how many. Raises what the first failing job raises."""
    queue, finished = iter(jobs), 0

    async def worker() -> None:
        nonlocal finished
        for job in queue:
            await job()
            finished += 1
            done(finished, len(jobs))

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(TOGETHER):
                tasks.create_task(worker(), name=f"bench.ask.{number}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
