"""The hub as a whole: which parts a process runs, and what is left when one of them cannot start."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil
import pytest

from botyard.core.actor import HUB, Actor, robot_actor
from botyard.core.hub import Hub
from botyard.core.tasks import Tasks
from botyard.plugin import AuthProvider, Inbox, PluginContext, Transport, hookimpl
from botyard.store.base import StoreError
from botyard.testing import MemoryTransport, hub_config, running_hub
from botyard_schemas.settings import SettingsError
from tests.hub.support import get


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


async def test_hub_with_the_web_role_only_has_no_transports(tmp_path: Path) -> None:
    async with running_hub(tmp_path, roles=["web"]) as running:
        assert running.hub.transports == []
        assert (await get(running, "hub"))["roles"] == ["web"]


async def test_hub_with_the_ingest_role_only_serves_no_pages(tmp_path: Path) -> None:
    async with running_hub(tmp_path, roles=["ingest"]) as running:
        assert running.hub.web_url is None
        robot = running.robot("r")
        await robot.telemetry({"x": 1})
        await running.transport.committed()
        assert robot.acknowledged == 1


class Breaking(MemoryTransport):
    """A transport that cannot be started."""

    async def __aenter__(self) -> Self:
        raise OSError(5, "the cable is cut")


async def test_hub_whose_part_cannot_start_raises_what_it_said_and_leaves_nothing_running(tmp_path: Path) -> None:
    before = children()
    tasks = asyncio.all_tasks()
    with pytest.raises(OSError, match="the cable is cut"):
        async with running_hub(tmp_path, plugins=[Breaking("broken")]):
            pass
    assert children() == before
    assert asyncio.all_tasks() == tasks
    async with running_hub(tmp_path) as running:  # the store is free again
        names = [event["name"] for event in (await get(running, "events"))["items"]]
        assert "hub.stopped" in names


@pytest.mark.parametrize(
    ("sections", "kind", "sentence"),
    [
        ({"store": {"url": "postgresql+odd://x/y"}}, SettingsError, "store.url: "),
        ({"fleet": {"sites": ["gone.yaml"]}}, SettingsError, "gone.yaml: cannot be read: No such file or directory"),
        ({"data_dir": "file/data"}, OSError, "Not a directory"),
        ({"store": {"url": "sqlite:////proc/nowhere/x.db"}}, StoreError, "/proc/nowhere"),
    ],
    ids=["url", "site", "folder", "store"],
)
async def test_hub_that_cannot_use_its_configuration_says_why(
    tmp_path: Path, sections: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    (tmp_path / "file").touch()
    before = children()
    with pytest.raises(kind) as refused:
        async with Hub(hub_config(tmp_path, **sections)):
            pass
    assert sentence in str(refused.value)
    assert children() == before


async def test_hub_whose_web_port_is_taken_says_which(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        before = children()
        with pytest.raises(
            OSError, match=f"the dashboard cannot listen on 127.0.0.1:{port} .*: Address already in use"
        ):
            async with running_hub(tmp_path, web={"port": port}):
                pass
        assert children() == before


async def test_hub_serves_over_ipv6(tmp_path: Path) -> None:
    async with running_hub(tmp_path, web={"host": "::1"}) as running:
        assert (running.hub.web_url or "").startswith("http://[::1]:")
        assert (await running.api.get("/readyz")).status_code == 200


async def test_hub_ends_with_the_error_of_its_body_not_with_a_group(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on purpose"):
        async with running_hub(tmp_path):
            raise ValueError("on purpose")


async def test_hub_with_two_transports_answers_each_robot_where_it_came_from(tmp_path: Path) -> None:
    other = MemoryTransport("other")
    async with running_hub(tmp_path, plugins=[other]) as running:
        raw = running.robot("r").message(
            "telemetry", {"groups": [{"dt": [0], "channels": [{"name": "x", "values": [1]}]}]}
        )
        await other.deliver("botyard/v1/r/up/telemetry", msgspec.json.encode(raw))
        await other.committed()
        assert [sent.type for sent in other.sent] == ["ack"]
        assert running.transport.sent == []


async def test_hub_asks_the_plugin_that_was_loaded_last_first(tmp_path: Path) -> None:
    asked: list[str] = []

    class Asked(AuthProvider):
        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl
        def botyard_auth(self, context: PluginContext) -> AuthProvider:
            return self

        async def authenticate(self, connection: Any) -> None:
            asked.append(self.name)

    async with running_hub(tmp_path, plugins=[Asked("first"), Asked("last")]) as running:
        await running.api.get("/api/v1/hub")
        assert asked == ["last", "first"]


async def test_hub_takes_a_plugin_that_registers_nothing(tmp_path: Path) -> None:
    class Nothing:
        @hookimpl
        def botyard_transports(
            self, context: PluginContext, inbox: Inbox, auth: Sequence[AuthProvider]
        ) -> Sequence[Transport] | None:
            return None

    async with running_hub(tmp_path, plugins=[Nothing()]) as running:
        assert [transport.name for transport in running.hub.transports] == ["memory"]


@pytest.mark.parametrize("text", ["hub", "user:loopback", "robot:picker-7", "user:a:b"])
def test_actor_is_read_from_its_text(text: str) -> None:
    assert str(Actor.parse(text)) == text


def test_actor_of_a_robot_and_of_the_hub() -> None:
    assert str(robot_actor("r")) == "robot:r"
    assert Actor.parse("hub") == HUB


async def test_tasks_that_fail_end_their_owner() -> None:
    async def fail() -> None:
        raise KeyError("broken")

    async def own() -> None:
        async with Tasks() as tasks:
            tasks.start(fail(), "failing")
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as ended:
        await own()
    assert ended.group_contains(KeyError)
