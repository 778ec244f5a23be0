"""`/api/v1/readings…` and telemetry over plain HTTP."""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard.testing import RunningHub, VirtualClock, running_hub
from tests.hub.support import counters, get, problem, quarantine, stored

READINGS = "/api/v1/readings"
SECOND = 1_000_000
HOUR = 3600 * SECOND
# VirtualClock's beginning; on a full minute, so that buckets are easy to tell
T0 = 1_763_712_000_000_000


async def filled(running: RunningHub) -> None:
    """Ten seconds of two channels of `a`, one sample of `b`, and values of each other type."""
    a, b = running.robot("a"), running.robot("b")
    times = [n * SECOND for n in range(10)]
    await a.send(
        "telemetry",
        {
            "groups": [
                {
                    "dt": times,
                    "channels": [
                        {"name": "speed", "unit": "m/s", "values": [float(n) for n in range(10)]},
                        {"name": "lap", "type": "integer", "values": [n // 5 for n in range(10)]},
                    ],
                },
                {"dt": [500_000], "channels": [{"name": "line", "type": "text", "values": ["A"]}]},
                {"dt": [500_000], "channels": [{"name": "lamp", "type": "boolean", "values": [True]}]},
            ]
        },
        ts=T0,
    )
    await b.send(
        "telemetry", {"groups": [{"dt": [3 * SECOND], "channels": [{"name": "speed", "values": [30]}]}]}, ts=T0
    )
    await running.transport.committed()


async def values(running: RunningHub, **query: Any) -> list[Any]:
    return [item["value"] for item in (await get(running, "readings", **query))["items"]]


async def test_readings_are_filtered_by_robot_channel_and_time(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        assert await values(running, robot="b") == [30.0]
        assert await values(
            running, robot=["a", "b"], channel="speed", **{"from": T0 + 3 * SECOND, "to": T0 + 5 * SECOND}
        ) in (
            [3.0, 30.0, 4.0],
            [30.0, 3.0, 4.0],
        )
        assert await values(running, robot="a", channel=["lap", "line"], to=T0 + SECOND) == [0, "A"]
        assert await values(running, robot="a", channel="lamp") == [True]
        assert await values(running, robot="nobody") == []
        assert await values(running, channel="nothing") == []
        page = await get(running, "readings", robot="a", channel="speed", limit=1)
        assert page["items"] == [{"robot": "a", "channel": "speed", "ts": T0, "value": 0.0}]


@pytest.mark.parametrize(
    ("moment", "count"),
    [
        (str(T0 + 9 * SECOND), 1),
        (str(T0 + 9 * SECOND + 1), 0),
        ("2025-11-21T08:00:09Z", 1),
        ("2025-11-21T08:00:09.000001Z", 0),
        ("2025-11-21T09:00:09+01:00", 1),
        ("2025-11-21T08:00:09", 1),
        ("2025-11-21", 10),
        ("-5", 10),
        ("0", 10),
        ("999999999999999999", 0),
    ],
)
async def test_readings_from_a_moment_in_any_notation_include_that_moment(
    tmp_path: Path, moment: str, count: int
) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        assert len(await values(running, robot="a", channel="speed", **{"from": moment})) == count


async def test_readings_moment_as_text_is_exact_to_the_microsecond(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        robot = running.robot("r")
        for n in range(20):
            await robot.telemetry({"x": n}, ts=T0 + 100_001 + n)
        await running.transport.committed()
        for n in range(20):
            text = dt.datetime.fromtimestamp(T0 // SECOND, dt.UTC) + dt.timedelta(microseconds=100_001 + n)
            assert (await values(running, robot="r", **{"from": text.isoformat()}))[0] == n


@pytest.mark.parametrize("limit", [1, 3, 7, 22, 23, 1000])
async def test_readings_pages_together_are_everything_once_in_the_order_of_time(tmp_path: Path, limit: int) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        items, cursor = [], None
        while True:
            page = await get(running, "readings", limit=limit, **({"cursor": cursor} if cursor else {}))
            assert len(page["items"]) <= limit
            items += page["items"]
            if (cursor := page["next"]) is None:
                break
        assert len(items) == 23
        assert len({(item["robot"], item["channel"], item["ts"]) for item in items}) == 23
        assert [item["ts"] for item in items] == sorted(item["ts"] for item in items)


async def test_readings_latest_is_one_of_each_channel_with_type_and_unit(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        items = (await get(running, "readings/latest", robot="a"))["items"]
        assert [(item["channel"], item["type"], item["unit"], item["value"]) for item in items] == [
            ("lamp", "boolean", None, True),
            ("lap", "integer", None, 1),
            ("line", "text", None, "A"),
            ("speed", "number", "m/s", 9.0),
        ]
        some = (await get(running, "readings/latest", robot="a", channel=["speed", "gone"]))["items"]
        assert [item["channel"] for item in some] == ["speed"]


async def test_readings_aggregate_has_minimum_maximum_mean_and_count_of_each_bucket(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        query = {"robot": "a", "channel": "speed", "from": T0, "to": T0 + 10 * SECOND, "bucket": 4}
        found = await get(running, "readings/aggregate", **query)
        assert (found["unit"], found["bucket"]) == ("m/s", 4.0)
        assert found["items"] == [
            {"ts": T0, "count": 4, "min": 0.0, "max": 3.0, "mean": 1.5, "last": 3.0},
            {"ts": T0 + 4 * SECOND, "count": 4, "min": 4.0, "max": 7.0, "mean": 5.5, "last": 7.0},
            {"ts": T0 + 8 * SECOND, "count": 2, "min": 8.0, "max": 9.0, "mean": 8.5, "last": 9.0},
        ]
        counts = [
            bucket["count"]
            for bucket in (await get(running, "readings/aggregate", **{**query, "channel": "lap"}))["items"]
        ]
        assert counts == [4, 4, 2]


async def test_readings_aggregate_is_of_the_last_hour_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await filled(running)
        await clock.advance(3605)
        found = await get(running, "readings/aggregate", robot="a", channel="speed")
        assert found["bucket"] == 12.0
        assert sum(bucket["count"] for bucket in found["items"]) == 5
        until = await get(running, "readings/aggregate", robot="a", channel="speed", to=T0 + 4 * SECOND)
        assert sum(bucket["count"] for bucket in until["items"]) == 4


@pytest.mark.parametrize(
    ("span", "bucket"), [(HOUR, 12), (5 * HOUR, 60), (6 * HOUR, 120), (300 * HOUR, 3600), (720 * HOUR, 3 * 3600)]
)
async def test_readings_aggregate_of_a_long_time_has_buckets_of_whole_minutes_or_hours(
    tmp_path: Path, span: int, bucket: float
) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        found = await get(running, "readings/aggregate", robot="a", channel="speed", **{"from": T0, "to": T0 + span})
        assert found["bucket"] == bucket


BAD = [
    ("?from=yesterday", "from", "from: 'yesterday' is neither microseconds since 1970 nor a date and time like 2026"),
    ("?from=", "from", "from: '' is neither"),
    ("?to=--5", "to", "to: '--5' is neither"),
    ("?to=²", "to", "to: '²' is neither"),
    ("?to=-", "to", "to: '-' is neither"),
    ("?to=9999999999999999999", "to", "is neither"),
    ("?limit=0", "limit", "limit: 0 is not between 1 and 10000"),
    ("?limit=1.5", "limit", "limit: Expected `int`, got `str`"),
    ("?cursor=nonsense", "cursor", "cursor: 'nonsense' did not come from this listing; leave it out to start anew"),
    ("?cursor=", "cursor", "cursor: "),
    (
        "?robots=a",
        "robots",
        "robots: is no parameter of this request; known are channel, cursor, from, limit, robot, to",
    ),
    ("/latest", "body", "Object missing required field `robot`"),
    ("/aggregate?robot=a", "body", "Object missing required field `channel`"),
    ("/aggregate?robot=a&channel=line", "channel", "channel: 'line' is of type text, aggregates need number"),
    ("/aggregate?robot=a&channel=speed&bucket=0", "bucket", "bucket: 0 s is not between 0.001 s and a year"),
    ("/aggregate?robot=a&channel=speed&bucket=nan", "bucket", "bucket: nan s is not between"),
    ("/aggregate?robot=a&channel=speed&bucket=inf", "bucket", "bucket: inf s is not between"),
    ("/aggregate?robot=a&channel=speed&bucket=1e9", "bucket", "bucket: 1e+09 s is not between"),
    ("/aggregate?robot=a&channel=speed&bucket=0.01", "bucket", "bucket: 0.01 s makes more than 10000 buckets"),
    ("/aggregate?robot=a&channel=speed&from=2&to=1", "from", "from: 2 is not before to, 1"),
    ("/aggregate?robot=a&channel=speed&to=0&from=0", "from", "from: 0 is not before to, 0"),
    ("/aggregate?robot=a&channel=speed&to=0&from=-999999999999999999", "from", "from: it is 1e+12 s before to"),
]


async def test_readings_with_a_bad_parameter_are_refused_and_the_parameter_is_named(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        for path, field, detail in BAD:
            document = await problem(running, "GET", READINGS + path)
            assert (document["status"], document.get("field")) == (400, field), path
            assert detail in document["detail"], path
            assert not document["detail"].startswith("cursor: cursor"), path


async def test_readings_aggregate_over_a_moment_has_the_finest_buckets(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        query = {"robot": "a", "channel": "speed", "from": T0, "to": T0 + 100_000}
        found = await get(running, "readings/aggregate", **query)
        assert found["bucket"] == 0.001
        assert [bucket["count"] for bucket in found["items"]] == [1]


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/latest?robot=q", "there is no robot 'q'"),
        ("/aggregate?robot=q&channel=x", "there is no robot 'q'"),
        ("/aggregate?robot=a&channel=q", "robot 'a' has no channel 'q'"),
    ],
)
async def test_readings_of_what_is_not_there_are_a_problem(tmp_path: Path, path: str, detail: str) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        document = await problem(running, "GET", READINGS + path)
        assert (document["status"], document["detail"]) == (404, detail)


# --- telemetry over plain HTTP


def body(value: Any = 1, **fields: Any) -> dict[str, Any]:
    groups = [{"dt": [0], "channels": [{"name": "x", "values": [value]}]}]
    return {"v": 1, "robot": "r", "body": {"groups": groups}, **fields}


async def post(running: RunningHub, content: Any) -> tuple[int, dict[str, Any]]:
    data = content if isinstance(content, bytes) else msgspec.json.encode(content)
    answer = await running.api.post("/api/v1/telemetry", content=data)
    return answer.status_code, answer.json()


async def test_telemetry_over_http_is_in_the_store_when_it_is_answered(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        for n in range(3):
            status, result = await post(running, body(n))
            assert status == 200
            assert result == {"committed": 1, "duplicates": 0, "quarantined": 0, "problems": []}
            assert await stored(running, "r") == [float(m) for m in range(n + 1)]
        view = await get(running, "robots/r")
        assert view["status"]["presence"]["status"] == "online"


async def test_telemetry_over_http_with_numbers_may_be_sent_twice(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        message = body(1, epoch="e", seq=1, ts=running.hub.clock.now())
        assert (await post(running, message))[1]["committed"] == 1
        assert await post(running, message) == (
            200,
            {"committed": 0, "duplicates": 1, "quarantined": 0, "problems": []},
        )
        assert await stored(running, "r") == [1]


async def test_telemetry_over_http_without_numbers_is_new_after_a_restart_too(tmp_path: Path) -> None:
    for _ in range(2):
        async with running_hub(tmp_path) as running:
            assert (await post(running, [body(1), body(2)]))[1]["committed"] == 2
    async with running_hub(tmp_path) as running:
        assert len(await stored(running, "r")) == 4


async def test_telemetry_over_http_in_an_array_is_taken_one_by_one(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        event = body(type="event") | {"body": {"name": "docked", "severity": "info"}}
        status, result = await post(running, [body(1), body("high"), event, 7, body(robot="a b"), {"robot": "r"}])
        assert status == 422
        assert (result["committed"], result["duplicates"], result["quarantined"]) == (2, 0, 4)
        assert result["problems"][0].startswith("body.groups[0].channels[0].values[0]: ")
        assert result["problems"][1] == "a message is a JSON object, this is a number"
        assert result["problems"][2] == "robot: 'a b' is not a robot id, expected [A-Za-z0-9_-]{1,64}"
        assert result["problems"][3] == "v: None is not a version that is spoken here, expected 1"
        assert await stored(running, "r") == [1]
        assert len((await get(running, "events", name="docked"))["items"]) == 1
        assert len(await quarantine(running)) == 4
        assert (await counters(running))["refused.schema"] == 3


async def test_telemetry_over_http_presence_is_answered_at_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        presence = {"v": 1, "robot": "r", "type": "presence", "body": {"status": "online", "session": "s"}}
        async with asyncio.timeout(10):
            for _ in range(3):
                assert (await post(running, presence))[0] == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'"\xff"',
        b"nonsense",
        b"NaN",
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
    ids=range(9),
)
async def test_telemetry_over_http_that_is_rubbish_is_quarantined(tmp_path: Path, content: bytes) -> None:
    async with running_hub(tmp_path) as running:
        status, result = await post(running, content)
        assert status == 422
        assert result["quarantined"] == 1
        assert len(await quarantine(running)) == 1


async def test_telemetry_over_http_of_too_many_messages_is_refused_as_a_whole(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        status, document = await post(running, [body(n) for n in range(1001)])
        assert (status, document["detail"]) == (413, "1001 messages in one request, at most 1000 are taken")
        assert (await counters(running)).get("received", 0) == 0
        assert (await post(running, [body(n) for n in range(1000)]))[1]["committed"] == 1000


async def test_telemetry_over_http_lets_others_have_their_turn_between_messages(tmp_path: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        received = running.hub.ingest.counters if running.hub.ingest else {}
        while True:
            turns += 0 < received["received"] < 1000
            await asyncio.sleep(0)

    async with running_hub(tmp_path) as running:
        counting = asyncio.create_task(count())
        assert (await post(running, [7] * 1000))[0] == 422
        counting.cancel()
    assert turns >= 20


@pytest.mark.parametrize("kind", ["a/b", "x" * 100_000, "Telemetry", "", 7, None, ["telemetry"], {"a": 1}])
async def test_telemetry_over_http_of_an_impossible_type_is_quarantined_without_a_topic(
    tmp_path: Path, kind: Any
) -> None:
    async with running_hub(tmp_path) as running:
        assert (await post(running, body(type=kind)))[0] == 422
        (kept,) = await quarantine(running)
        assert kept["topic"] in (None, "")


async def test_telemetry_over_http_of_a_pending_robot_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with running_hub(tmp_path, fleet={"auto_accept": False}) as running:
        status, result = await post(running, body())
        assert (status, result["problems"]) == (422, ["the robot waits to be accepted"])
        await running.api.post("/api/v1/robots/r/accept")
        assert (await post(running, body()))[0] == 200


async def test_telemetry_over_http_to_a_hub_that_takes_nothing_in_is_a_problem(tmp_path: Path) -> None:
    async with running_hub(tmp_path, roles=["web"]) as running:
        document = await problem(running, "POST", "/api/v1/telemetry", json=body())
        assert (document["status"], document["detail"]) == (503, "this process does not take messages in (roles)")
        assert (await running.api.get("/readyz")).status_code == 200
        assert (await get(running, "hub"))["broker"]["connected"] is False
