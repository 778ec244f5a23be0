"""Messages that are refused: counted, kept in quarantine with the reason, and no harm to their neighbours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard.core.actor import robot_actor
from botyard.ingest.throttle import BURST
from botyard.plugin import Access, Allow, AuthProvider, Connection, Deny, PluginContext, hookimpl
from botyard.testing import FakeRobot, RunningHub, VirtualClock, running_hub
from botyard_schemas import topics
from tests.hub.support import counters, get, quarantine, samples, stored

YEAR = 365 * 86400 * 1_000_000
UP = topics.up("r", "telemetry")


def raw(robot: FakeRobot, *values: Any, **changes: Any) -> bytes:
    return msgspec.json.encode(samples(robot, *values, **changes))


def with_text(robot: FakeRobot, text: bytes) -> bytes:
    """A message with a value that a JSON encoder would not write."""
    return raw(robot, 123456).replace(b"123456", text)


def shifted(robot: FakeRobot, dt: int) -> bytes:
    message = samples(robot, 1)
    message["body"]["groups"][0]["dt"] = [dt]
    return msgspec.json.encode(message)


def event(robot: FakeRobot, dt: int) -> bytes:
    return msgspec.json.encode(robot.message("event", {"name": "n", "severity": "info", "dt": dt}))


# Bad messages of a robot that takes part: how to make one, its reason, and a part of the sentence. The first ones do
# not say (or cannot be believed) which number of the stream they are.
UNNUMBERED: list[tuple[str, Callable[[FakeRobot], bytes], str, str]] = [
    ("malformed", lambda _: b'{"v": 1, "robot": "r", ', "malformed_json", "not JSON"),
    ("empty", lambda _: b"", "malformed_json", "not JSON"),
    ("binary", lambda _: b"\x00\xff\xfe", "malformed_json", "not JSON"),
    ("deep", lambda _: b"[" * 100_000, "malformed_json", "not JSON"),
    ("array", lambda _: b"[1]", "schema", "a message is a JSON object, this is an array"),
    ("null", lambda _: b"null", "schema", "this is null"),
    ("version", lambda _: b'{"v": 2, "robot": "r", "type": "telemetry"}', "wrong_version", "v: 2 is not a version"),
    ("no version", lambda _: b'{"robot": "r", "type": "telemetry"}', "wrong_version", "v: None is not a version"),
    ("version text", lambda _: b'{"v": "1", "robot": "r"}', "wrong_version", "v: '1' is not a version"),
    ("oversized", lambda _: b" " * 262_145, "oversized", "262145 bytes, at most 262144 are allowed"),
    ("other robot", lambda _: b'{"v": 1, "robot": "other", "type": "telemetry"}', "topic_mismatch", "'other'"),
    ("other type", lambda _: b'{"v": 1, "robot": "r", "type": "state"}', "topic_mismatch", "'state'"),
    ("no robot", lambda _: b'{"v": 1, "type": "telemetry"}', "schema", "robot: None is not a robot id"),
    ("robot number", lambda _: b'{"v": 1, "robot": 7, "type": "telemetry"}', "schema", "robot: 7 is not a robot id"),
]
NUMBERED: list[tuple[str, Callable[[FakeRobot], bytes], str, str]] = [
    ("nan", lambda robot: with_text(robot, b"NaN"), "malformed_json", "not JSON"),
    ("half", lambda robot: raw(robot, 1)[:-1], "malformed_json", "not JSON"),
    ("large", lambda robot: raw(robot, 1, padding="x" * 270_000), "oversized", "at most 262144 are allowed"),
    ("type not its topic's", lambda robot: raw(robot, 1, type="report"), "topic_mismatch", "'report'"),
    ("wrong type", lambda robot: raw(robot, "high"), "schema", "body.groups[0].channels[0].values[0]"),
    ("lengths", lambda robot: raw(robot, 1).replace(b'"dt":[0]', b'"dt":[0,1]'), "schema", "1 values for 2 times"),
    (
        "no body",
        lambda robot: msgspec.json.encode(samples(robot, 1) | {"body": None}),
        "schema",
        "body: null is not of type",
    ),
    ("no ts", lambda robot: raw(robot, 1, ts=None), "schema", "ts: null is not of type"),
    ("past", lambda robot: raw(robot, 1, ts=0), "absurd_time", "ts: 0 µs is before 2015-01-01 (ingest.oldest)"),
    ("future", lambda robot: raw(robot, 1, ts=robot._clock.now() + YEAR), "absurd_time", "31536000 s in the future"),
    ("dt past", lambda robot: shifted(robot, -100 * YEAR), "absurd_time", "is before 2015-01-01"),
    ("dt future", lambda robot: shifted(robot, YEAR), "absurd_time", "in the future"),
    ("event past", lambda robot: event(robot, -(2**53) + 1), "absurd_time", "is before 2015-01-01"),
    ("event future", lambda robot: event(robot, YEAR), "absurd_time", "in the future"),
]


async def refuse_between_neighbours(
    running: RunningHub, make: Callable[[FakeRobot], bytes], reason: str, detail: str
) -> FakeRobot:
    """A good message, the bad one, another good one: what becomes of them."""
    robot = running.robot("r")
    await robot.post(samples(robot, 1))
    payload = make(robot)
    topic = topics.up("r", "event") if b'"event"' in payload else UP
    receipt = await running.transport.deliver(topic, payload)
    await robot.post(samples(robot, 2))
    await running.transport.committed()

    assert receipt.outcome == "quarantined"
    assert await stored(running, "r") == [1, 2]
    (kept,) = await quarantine(running)
    assert (kept["reason"], kept["robot"], kept["topic"], kept["size"]) == (reason, "r", topic, len(payload))
    assert detail in kept["detail"]
    assert kept["payload"].encode() == payload[:4096].decode("utf-8", "replace").replace("\0", "\\0").encode()
    counted = await counters(running)
    assert counted[f"refused.{reason}"] == 1
    assert (counted["received"], counted["accepted"]) == (3, 2)
    return robot


@pytest.mark.parametrize(("make", "reason", "detail"), [pytest.param(*case[1:], id=case[0]) for case in UNNUMBERED])
async def test_message_that_cannot_be_read_is_quarantined_and_its_neighbours_are_acknowledged(
    tmp_path: Path, make: Callable[[FakeRobot], bytes], reason: str, detail: str
) -> None:
    async with running_hub(tmp_path) as running:
        robot = await refuse_between_neighbours(running, make, reason, detail)
        assert robot.acknowledged == robot.seq == 2


@pytest.mark.parametrize(("make", "reason", "detail"), [pytest.param(*case[1:], id=case[0]) for case in NUMBERED])
async def test_message_with_bad_content_is_quarantined_and_acknowledged_or_it_would_come_for_ever(
    tmp_path: Path, make: Callable[[FakeRobot], bytes], reason: str, detail: str
) -> None:
    async with running_hub(tmp_path) as running:
        robot = await refuse_between_neighbours(running, make, reason, detail)
        assert robot.acknowledged == robot.seq == 3


async def test_message_with_bad_content_that_is_sent_again_is_a_duplicate(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        bad = samples(robot, "high")
        for _ in range(3):
            await robot.post(bad)
        await running.transport.committed()
        assert len(await quarantine(running)) == 1
        assert (await counters(running))["duplicate"] == 2
        assert robot.acknowledged == 1


async def test_message_of_unknown_type_is_quarantined_and_does_not_stop_the_line(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.post(samples(robot, 1))
        robot.seq += 1
        body = {"v": 1, "robot": "r", "epoch": robot.epoch, "seq": robot.seq, "ts": 1, "type": "smell", "body": {}}
        await robot.post(body)
        await robot.post(samples(robot, 2))
        await running.transport.committed()
        (kept,) = await quarantine(running)
        assert kept["reason"] == "unknown_type"
        assert kept["detail"] == "type: robots send event, presence, report, state, telemetry, time, not 'smell'"
        assert robot.acknowledged == 3


@pytest.mark.parametrize("kind", ["command", "ack"])
async def test_message_of_a_type_that_only_hubs_send_is_quarantined(tmp_path: Path, kind: str) -> None:
    async with running_hub(tmp_path) as running:
        await running.robot("r").presence()
        await running.robot("r").send(kind, {"epoch": "e", "seq": 1})
        await running.transport.committed()
        (kept,) = await quarantine(running)
        assert (kept["reason"], kept["robot"]) == ("unknown_type", "r")


@pytest.mark.parametrize(
    "numbers",
    [
        {"seq": True},
        {"seq": 0},
        {"seq": -1},
        {"seq": 2**53},
        {"seq": "1"},
        {"seq": None},
        {"seq": 1.5},
        {"epoch": ""},
        {"epoch": None},
        {"epoch": "a b"},
        {"type": ["telemetry"]},
    ],
    ids=str,
)
async def test_message_with_a_bad_number_takes_no_number_away(tmp_path: Path, numbers: dict[str, Any]) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        bad = {**samples(robot, 0), **numbers}
        receipt = await running.transport.deliver("", msgspec.json.encode(bad))
        assert receipt.outcome == "quarantined"
        robot.seq = 0
        await robot.post(samples(robot, 1))
        await running.transport.committed()
        assert await stored(running, "r") == [1]
        assert [kept["reason"] for kept in await quarantine(running)] == ["schema"]


async def test_message_on_a_topic_that_is_not_ours_is_quarantined_without_a_robot(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence()
        await running.transport.deliver("somewhere/else", raw(robot, 1))
        await running.transport.deliver("botyard/v1/b d/up/telemetry", b"{")
        await running.transport.committed()
        kept = await quarantine(running)
        assert [(row["reason"], row["robot"]) for row in kept] == [("topic_mismatch", "r"), ("malformed_json", None)]


async def test_message_of_a_robot_that_nobody_registered_shares_the_place_of_all_strangers(tmp_path: Path) -> None:
    async with running_hub(tmp_path, store={"quarantine_limit": 5}) as running:
        for n in range(12):
            await running.transport.deliver(topics.up(f"stranger-{n}", "telemetry"), b"rubbish %d" % n)
        await running.transport.committed()
        kept = await quarantine(running)
        assert [(row["robot"], row["topic"], row["payload"]) for row in kept] == [
            (None, topics.up(f"stranger-{n}", "telemetry"), f"rubbish {n}") for n in range(7, 12)
        ]
        assert (await get(running, "robots"))["items"] == []


async def test_message_limit_is_what_the_configuration_says(tmp_path: Path) -> None:
    async with running_hub(tmp_path, ingest={"max_message_bytes": 2000}) as running:
        robot = running.robot("r")
        assert (await robot.post(samples(robot, *range(50)))).outcome == "committed"
        assert (await robot.post(samples(robot, *range(500)))).outcome == "quarantined"
        await running.transport.committed()
        (kept,) = await quarantine(running)
        assert kept["reason"] == "oversized"
        assert "at most 2000 are allowed" in kept["detail"]


async def test_message_times_are_judged_by_the_configured_limits(tmp_path: Path) -> None:
    async with running_hub(tmp_path, ingest={"max_future": 10, "oldest": "2020-01-01"}) as running:
        robot = running.robot("r")
        now = running.hub.clock.now()
        times = [now + 9_000_000, now + 30_000_000, 1_577_836_800_000_000, 1_577_836_799_999_999]
        outcomes = [(await robot.telemetry({"x": 1}, ts=ts)).outcome for ts in times]
        assert outcomes == ["committed", "quarantined", "committed", "quarantined"]


async def test_unknown_robot_waits_to_be_accepted_and_then_sends_again(tmp_path: Path) -> None:
    async with running_hub(tmp_path, fleet={"auto_accept": False}) as running:
        robot = running.robot("r")
        message = samples(robot, 1)
        await robot.post(message)
        await running.transport.committed()
        assert await stored(running, "r") == []
        assert robot.acks == []
        (kept,) = await quarantine(running)
        assert (kept["reason"], kept["detail"]) == ("unknown_robot", "the robot waits to be accepted")
        view = await get(running, "robots/r")
        assert view["status"]["registration"] == "pending"
        assert view["status"]["last_seen"]

        answer = await running.api.post("/api/v1/robots/r/accept")
        assert answer.json()["status"]["registration"] == "accepted"
        await robot.post(message)
        await running.transport.committed()
        assert await stored(running, "r") == [1]
        assert robot.acknowledged == 1
        names = [item["name"] for item in (await get(running, "events", robot="r"))["items"]]
        assert {"robot.registered", "robot.accepted"} <= set(names)


async def test_pending_robots_are_at_most_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botyard.fleet.fleet.MAX_PENDING", 3)
    async with running_hub(tmp_path, fleet={"auto_accept": False}) as running:
        for n in range(5):
            await running.robot(f"r{n}").telemetry({"x": 1})
        await running.transport.committed()
        assert len((await get(running, "robots", registration="pending"))["items"]) == 3
        refused = await quarantine(running, reason="refused")
        assert {row["detail"] for row in refused} == {"3 robots wait to be accepted already"}


class Bouncer(AuthProvider):
    """Refuses the robots on its list, fails on `cursed`, and has no opinion on anybody else."""

    def __init__(self) -> None:
        self.refused = {"r"}
        self.asked: list[Connection] = []

    @hookimpl
    def botyard_auth(self, context: PluginContext) -> AuthProvider:
        return self

    async def authenticate(self, connection: Connection) -> Access | None:
        if connection.kind == "request":
            return None
        self.asked.append(connection)
        if connection.robot == "cursed":
            raise RuntimeError("on purpose")
        if connection.token == "password":
            return Allow(robot_actor(connection.robot or ""))
        return Deny("not on the list") if connection.robot in self.refused else None


async def test_robot_refused_by_an_auth_provider_is_quarantined_and_not_registered(tmp_path: Path) -> None:
    bouncer = Bouncer()
    async with running_hub(tmp_path, plugins=[bouncer]) as running:
        robot, good = running.robot("r"), running.robot("good")
        await robot.post(samples(robot, 1))
        await good.post(samples(good, 2))
        await running.transport.committed()
        (kept,) = await quarantine(running)
        assert (kept["reason"], kept["detail"], kept["robot"]) == ("refused", "not on the list", None)
        assert kept["topic"] == UP
        assert robot.acks == []
        assert (await running.api.get("/api/v1/robots/r")).status_code == 404
        assert await stored(running, "good") == [2]
        assert good.acknowledged == 1
        assert bouncer.asked[0] == Connection("robot", "memory", None, robot="r")


async def test_robot_has_to_wait_when_the_auth_provider_fails_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(tmp_path, plugins=[Bouncer()]) as running:
        robot, good = running.robot("cursed"), running.robot("good")
        assert (await robot.post(samples(robot, 1))).outcome == "waiting"
        await good.post(samples(good, 2))
        await running.transport.committed()
        assert await quarantine(running) == []
        assert robot.acknowledged == 0
        assert await stored(running, "good") == [2]
    assert "Bouncer failed on a connection of cursed" in caplog.text


async def test_robot_over_http_is_judged_by_the_token_that_it_shows_each_time(tmp_path: Path) -> None:
    async with running_hub(tmp_path, plugins=[TokenForR()]) as running:
        body = {"v": 1, "robot": "r", "body": {"groups": [{"dt": [0], "channels": [{"name": "x", "values": [1]}]}]}}

        async def post(token: str | None) -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return (await running.api.post("/api/v1/telemetry", json=body, headers=headers)).status_code

        assert [await post(token) for token in ("secret", None, "secret", "wrong", "secret")] == [
            200,
            422,
            200,
            422,
            200,
        ]


class TokenForR(AuthProvider):
    """Lets everybody make requests, and takes the robot `r` for itself only with its secret."""

    @hookimpl
    def botyard_auth(self, context: PluginContext) -> AuthProvider:
        return self

    async def authenticate(self, connection: Connection) -> Access | None:
        if connection.kind == "request" or connection.token == "secret":
            return Allow(robot_actor("r"))
        return Deny("wrong secret")


async def test_robot_that_sends_rubbish_is_throttled_alone(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        good = running.robot("good")
        await good.presence()
        await running.robot("r").presence()
        for _ in range(int(BURST) + 50):
            await running.transport.deliver(UP, b"rubbish")
        await running.transport.deliver(topics.up("good", "telemetry"), b"one slip")
        await good.post(samples(good, 1))
        await running.transport.committed()
        counted = await counters(running)
        assert counted["refused.malformed_json"] == BURST + 51
        assert counted["quarantine_skipped"] == 50
        assert len(await quarantine(running, robot="r", limit=1000)) == BURST
        assert len(await quarantine(running, robot="good")) == 1
        assert good.acknowledged == 1
        await clock.advance(1.0)
        await running.transport.deliver(UP, b"rubbish")
        await running.transport.committed()
        assert len(await quarantine(running, robot="r", limit=1000)) == BURST + 1


async def test_quarantine_keeps_only_the_newest_of_each_robot(tmp_path: Path) -> None:
    async with running_hub(tmp_path, store={"quarantine_limit": 5}) as running:
        await running.robot("r").presence()
        await running.robot("other").presence()
        for n in range(12):
            await running.transport.deliver(UP, b"rubbish %d" % n)
        await running.transport.deliver(topics.up("other", "telemetry"), b"rubbish")
        await running.transport.committed()
        kept = await quarantine(running, robot="r")
        assert [row["payload"] for row in kept] == [f"rubbish {n}" for n in range(7, 12)]
        assert len(await quarantine(running, robot="other")) == 1


@settings(max_examples=1)
@given(st.lists(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), min_size=300, max_size=300))
def test_rubbish_of_any_kind_is_quarantined_and_harms_nothing(
    tmp_path_factory: pytest.TempPathFactory, rubbish: list[bytes]
) -> None:
    import asyncio

    async def feed() -> None:
        async with running_hub(tmp_path_factory.mktemp("rubbish")) as running:
            robot = running.robot("r")
            for payload in rubbish:
                assert (await running.transport.deliver(UP, payload)).outcome == "quarantined"
            await robot.post(samples(robot, 1))
            await running.transport.committed()
            assert robot.acknowledged == 1
            counted = await counters(running)
            assert sum(count for name, count in counted.items() if name.startswith("refused.")) == len(rubbish)

    asyncio.run(feed())


@pytest.mark.parametrize("ts", [60_000_000, 4_000_000_000_000_000])
async def test_notice_of_what_was_given_up_counts_whatever_its_clock_says(tmp_path: Path, ts: int) -> None:
    """Else the hub would wait for ever for what will never come, and the robot with it."""
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.post(samples(robot, 1))
        data = {"epoch": robot.epoch, "ranges": [[2, 101]], "count": 100, "reason": "cut off"}
        notice = robot.message("event", {"name": "outbox.dropped", "severity": "warning", "data": data})
        assert (await robot.post({**notice, "seq": 102, "ts": ts})).outcome == "committed"
        await robot.post({**samples(robot, 2), "seq": 103})
        await running.transport.committed()
        assert robot.acknowledged == 103
        (event,) = (await get(running, "events", name="outbox.dropped"))["items"]
        assert abs(event["ts"] - running.hub.clock.now()) < 60_000_000
