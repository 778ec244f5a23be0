"""Where a simulated fleet meets a real hub: bad addresses, closed doors, and names that are taken."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from botyard.cli.main import build_app
from botyard.core.config import BrokerConfig, Config, FleetConfig, WebConfig
from botyard.core.hub import Hub
from botyard_edge.transport import TransportError, Will
from botyard_plugins.simulation import away, door, pacing
from botyard_plugins.simulation.scenario import CommandSettings, Scenario
from botyard_plugins.simulation.thin import ThinTransport
from tests.processes import free_port

QUIET = Scenario(robots=2, seconds=1.0, settle=5.0, options={"block": 0.5})


def config(folder: Path, **changes: object) -> Config:
    ports = {"web": WebConfig(port=0, trust_loopback=False), "broker": BrokerConfig(port=0)}
    return Config(base=folder, data_dir=str(folder / "hub"), **{**ports, **changes})  # type: ignore[arg-type]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """A hub that wants a token of everybody."""
    async with Hub(config(tmp_path)) as hub:
        yield hub


def token_of(hub: Hub) -> str:
    return (hub.config.data / "token").read_text().strip()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hub", "amqp://there"], "'amqp://there' begins with no scheme that robots know, expected one of mqtt://"),
        (["--hub", "mqtt://"], "'mqtt://' names no host"),
        (["--hub", "mqtt://there:port"], "'mqtt://there:port' is no URL"),
        (["--hub", "mqtt://there", "--api", "there:8080"], "--api: 'there:8080' is no address of a hub's API"),
        (["--hub", "mqtt://there", "--prefix", "a robot "], "--prefix: 'a robot ' begins no robot ids"),
    ],
)
def test_sim_with_an_address_that_is_none_says_so(arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(build_app(), ["sim", *arguments])
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())


def test_sim_at_a_hub_that_does_not_run_says_so_and_ends() -> None:
    done = CliRunner().invoke(build_app(), ["sim", "--hub", f"ws://127.0.0.1:{free_port()}"])
    assert done.exit_code == 1
    sentence = " ".join(done.output.split())
    assert "does not answer (All connection attempts failed): start the hub with `botyard hub`" in sentence


@pytest.mark.parametrize(
    ("hubs", "ways", "api"),
    [
        (["mqtt://there:1"], ["mqtt://there:1"], "http://there:8080"),
        (["mqtts://[::1]"], ["mqtts://[::1]"], "http://[::1]:8080"),
        (["ws://there:81/edge/v1"], ["ws://there:81/edge/v1"], "http://there:81"),
        (["mqtt://a", "wss://b"], ["mqtt://a", "wss://b"], "https://b"),
        (["https://there"], ["wss://there"], "https://there"),
    ],
)
def test_addresses_of_a_hub_tell_where_its_api_is(hubs: list[str], ways: list[str], api: str) -> None:
    assert door.ways_of(hubs, None) == (ways, api)
    assert door.ways_of(hubs, "http://other:1") == (ways, "http://other:1")


async def refusal(hub: Hub, way: str | None = None, token: str | None = None, **changes: object) -> str:
    there = away.Address([way or hub.transports[0].address], hub.web_url or "", token, **changes)  # type: ignore[arg-type]
    with pytest.raises(door.HubError) as error:
        await away.run(QUIET, 1, there, Path("/nowhere"))
    return str(error.value)


async def test_sim_with_a_wrong_token_or_none_is_told_so(hub: Hub) -> None:
    assert "refuses: the access token is wrong" in await refusal(hub, token="wrong")
    assert (await refusal(hub)).endswith("give the token with --token")


async def test_sim_whose_robots_cannot_connect_says_to_where(hub: Hub) -> None:
    port = free_port()
    sentence = await refusal(hub, f"mqtt://127.0.0.1:{port}", token_of(hub))
    assert sentence == f"robots cannot connect to 127.0.0.1:{port}: Connect call failed ('127.0.0.1', {port})"


async def test_fleet_shows_the_token_at_every_door(hub: Hub, tmp_path: Path) -> None:
    ways = [hub.transports[0].address, (hub.web_url or "").replace("http", "ws")]
    there = away.Address(ways, hub.web_url or "", token_of(hub), "sim-")
    command = CommandSettings("safety.stop", 0.2, robots=[1, 2])
    scenario = Scenario(robots=2, seconds=1.0, settle=20.0, options={"block": 0.5}, commands=[command])
    report = await away.run(scenario, 1, there, tmp_path)
    assert [one for one in report.invariants if not one.holds] == []
    assert report.commands == {"succeeded": 2}
    assert {name for name, _ in await hub.store.counts()} == {"sim-1", "sim-2"}


async def test_sim_at_a_hub_that_accepts_nobody_says_so(tmp_path: Path) -> None:
    settings = config(tmp_path, fleet=FleetConfig(auto_accept=False), web=WebConfig(port=0))
    async with Hub(settings) as hub:
        sentence = await refusal(hub)
    assert sentence == ("the hub does not let robot-1 take part, it is pending: accept it, or set fleet.auto_accept")


def test_fleet_with_more_files_than_a_process_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "raise_file_limit", lambda _: 1024)
    with pytest.raises(door.HubError, match=r"2,000 robots need 2,160 open files.*may have 1,024: raise the limit"):
        door.check_files(2000, 10)
    assert pacing.raise_file_limit(64) is None


async def test_thin_client_is_told_why_the_broker_hangs_up() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        transport = ThinTransport("r", f"mqtt://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2)
        with pytest.raises(TransportError, match="no answer in time"):
            async with transport.session(Will("t", b"")):
                pass
