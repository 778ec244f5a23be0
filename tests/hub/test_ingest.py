"""The way of a message from a transport to the store, through a whole hub."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard.core.actor import HUB
from botyard.core.events import EventNoted
from botyard.store.base import EventRow
from botyard.testing import VirtualClock, running_hub, wait_until
from botyard_schemas import Time, topics
from tests.hub.support import counters, get, noted, quarantine, samples, stored


async def test_ingest_stores_each_type_and_acknowledges_it(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("picker-7")
        await robot.telemetry({"battery.level": 0.5, "lamp": True, "lap": 3, "line": "A", "info": {"a": [1]}})
        await robot.state(battery={"level": 0.5})
        await robot.event("docking.failed", "warning", data={"dock": "d2"}, cause="cmd-1")
        await robot.send("report", {"command": "cmd-1", "status": "running", "progress": 0.4})
        await running.transport.committed()

        latest = await get(running, "readings/latest", robot="picker-7")
        assert {item["channel"]: (item["type"], item["value"]) for item in latest["items"]} == {
            "battery.level": ("number", 0.5),
            "info": ("object", {"a": [1]}),
            "lamp": ("boolean", True),
            "lap": ("integer", 3),
            "line": ("text", "A"),
        }
        assert (await get(running, "robots/picker-7/state"))["state"]["battery"] == {"level": 0.5}
        (event,) = (await get(running, "events", name="docking"))["items"]
        assert (event["severity"], event["data"], event["cause"], event["actor"]) == (
            "warning",
            {"dock": "d2"},
            "cmd-1",
            "robot:picker-7",
        )
        assert robot.acknowledged == 4
        assert (await counters(running))["committed"] == 4


async def test_ingest_telemetry_has_absolute_times_and_no_gaps(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        ts = running.hub.clock.now() - 1_000_000
        groups = [
            {"dt": [-5, 0, 7], "channels": [{"name": "x", "values": [1, None, 3]}, {"name": "y", "values": [None] * 3}]}
        ]
        await robot.send("telemetry", {"groups": groups}, ts=ts)
        await running.transport.committed()
        page = await get(running, "readings", robot="r")
        assert [(item["channel"], item["ts"], item["value"]) for item in page["items"]] == [
            ("x", ts - 5, 1.0),
            ("x", ts + 7, 3.0),
        ]
        assert robot.acknowledged == 1


async def test_ingest_duplicates_are_counted_not_stored_and_acknowledged_again(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        first = samples(robot, 1)
        for message in (first, first, samples(robot, 2), first):
            await robot.post(message)
            await running.transport.committed()
        assert await stored(running, "r") == [1, 2]
        assert [ack.seq for ack in robot.acks] == [1, 1, 2, 2]
        assert (await counters(running))["duplicate"] == 2
        assert await quarantine(running) == []


async def test_ingest_out_of_order_is_stored_and_acknowledged_when_the_gap_closes(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        one, two, three, four = (samples(robot, n) for n in (1, 2, 3, 4))
        acknowledged = []
        for message in (one, three, four, two):
            await robot.post(message)
            await running.transport.committed()
            acknowledged.append(robot.acknowledged)
        assert acknowledged == [1, 1, 1, 4]
        assert [ack.beyond for ack in robot.acks] == [(), ((3, 3),), ((3, 4),), ()], "it need not send these again"
        assert sorted(await stored(running, "r")) == [1, 2, 3, 4]
        assert (await counters(running))["out_of_order"] == 1


async def test_ingest_acknowledgement_of_many_gaps_names_the_first_ranges(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        made = [samples(robot, n) for n in range(1, 400)]
        for message in made[1::2]:
            await robot.post(message)
        await running.transport.committed()
        assert robot.acks[-1].beyond == tuple((n, n) for n in range(2, 130, 2))


async def test_ingest_epochs_of_a_robot_are_numbered_apart(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        old, new = running.robot("r", epoch="old"), running.robot("r", epoch="new")
        await old.post(samples(old, 1))
        await new.post(samples(new, 2))
        await running.transport.committed()
        assert sorted(await stored(running, "r")) == [1, 2]
        assert (old.acknowledged, new.acknowledged) == (1, 1)


async def test_ingest_restarted_stores_nothing_twice_and_acknowledges_what_it_has(tmp_path: Path) -> None:
    sent = []
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        sent = [samples(robot, n) for n in range(1, 8)]
        for message in [*sent[:3], *sent[4:6]]:  # 4 is missing
            await robot.post(message)
        await running.transport.committed()
        assert robot.acknowledged == 3
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        for message in sent:
            await robot.post(message)
        await running.transport.committed()
        assert sorted(await stored(running, "r")) == [1, 2, 3, 4, 5, 6, 7]
        assert robot.acknowledged == 7
        assert (await counters(running))["duplicate"] == 5


async def test_ingest_stop_commits_what_was_received(tmp_path: Path) -> None:
    async with running_hub(tmp_path, ingest={"batch_age": 60}) as running:
        robot = running.robot("r")
        for n in range(50):
            await robot.post(samples(robot, n))
        assert await stored(running, "r") == []
    assert robot.acknowledged == 0  # the transport had ended before
    async with running_hub(tmp_path) as running:
        assert len(await stored(running, "r")) == 50
        names = [event["name"] for event in (await get(running, "events"))["items"]]
        assert names.count("hub.stopped") == 1


async def test_ingest_batch_that_is_full_does_not_wait_for_its_age(tmp_path: Path) -> None:
    async with running_hub(tmp_path, ingest={"batch_age": 60, "batch_samples": 100}) as running:
        robot = running.robot("r")
        for n in range(30):
            await robot.post(samples(robot, n))
        await wait_until(lambda: running.hub.ingest and running.hub.ingest.counters["committed"] > 0)
        assert 0 < len(await stored(running, "r")) <= 30


async def test_ingest_acknowledges_only_after_the_commit(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        receipt = await robot.post(samples(robot, 1))
        assert receipt.done
        assert not receipt.done.done()
        assert robot.acks == []
        await running.transport.committed()
        assert await stored(running, "r") == [1]
        assert robot.acknowledged == 1


async def test_ingest_message_without_anything_to_store_is_done_at_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence()
        await running.transport.committed()
        heartbeat = await robot.presence(reason="heartbeat")
        assert heartbeat.outcome == "committed"
        assert heartbeat.done is None


async def test_ingest_answers_a_clock_request_with_both_of_its_times(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await running.robot("r").send("time", {"origin": 123}, ts=5)
        (answer,) = [sent for sent in running.transport.sent if isinstance(sent.body, Time)]
        assert answer.robot == "r"
        assert answer.body == Time(123, received=clock.now(), replied=clock.now())


async def test_ingest_presence_and_clock_requests_of_a_robot_with_a_wrong_clock_are_taken(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        assert (await robot.presence("online")).outcome == "committed"
        assert (await robot.send("time", {"origin": 0}, ts=0)).outcome == "committed"
        assert (await robot.send("presence", {"status": "online", "session": "s"}, ts=0)).outcome == "committed"


async def test_ingest_unknown_optional_fields_are_ignored(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        message = samples(robot, 1, priority=3)
        message["body"]["colour"] = "red"
        await robot.post(message)
        await running.transport.committed()
        assert await stored(running, "r") == [1]


async def test_ingest_many_robots_at_once_lose_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path, ingest={"batch_samples": 50}) as running:
        robots = [running.robot(f"r{n}") for n in range(10)]

        async def talk(robot: object) -> None:
            for n in range(40):
                await robot.post(samples(robot, n))  # type: ignore[attr-defined,arg-type]
                await asyncio.sleep(0)

        await asyncio.gather(*(talk(robot) for robot in robots))
        await running.transport.committed()
        assert [robot.acknowledged for robot in robots] == [40] * 10
        assert len((await get(running, "readings", limit=1000))["items"]) == 400


async def test_ingest_messages_of_a_robot_are_shown_as_they_came_newest_first(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot, other = running.robot("r"), running.robot("other")
        await robot.post(samples(robot, 1))
        await other.post(samples(other, 2))
        await running.transport.deliver(topics.up("r", "event"), b'{"half')
        items = (await get(running, "robots/r/messages"))["items"]
        assert [item["topic"] for item in items] == [topics.up("r", "event"), topics.up("r", "telemetry")]
        assert items[0]["payload"] == '{"half'
        assert msgspec.json.decode(items[1]["payload"])["seq"] == 1


async def test_ingest_messages_that_the_robot_gave_up_are_no_longer_waited_for(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.post({**samples(robot, 1), "seq": 1})
        await robot.post({**samples(robot, 2), "seq": 9})
        await running.transport.committed()
        assert robot.acknowledged == 1
        lost = {"epoch": robot.epoch, "ranges": [[2, 5], [7, 8]], "count": 6, "reason": "full"}
        body = {"name": "outbox.dropped", "severity": "warning", "data": lost}
        await robot.post({**samples(robot, 0), "type": "event", "seq": 6, "body": body})
        await running.transport.committed()
        assert robot.acknowledged == 9
        (event,) = (await get(running, "events", name="outbox"))["items"]
        assert event["data"] == lost


async def test_ingest_given_up_ranges_that_make_no_sense_are_an_event_like_any_other(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        for ranges in ("all", [[3]], [[5, 2]], [[0, 9]], [["2", "3"]], [[2, 2**60]]):
            await robot.event("outbox.dropped", "warning", data={"epoch": robot.epoch, "ranges": ranges})
        await running.transport.committed()
        assert robot.acknowledged == 6
        assert len((await get(running, "events", name="outbox"))["items"]) == 6


ODD_EVENTS: dict[str, dict[str, Any]] = {
    "object": {"data": {"x": object()}},
    "no object": {"data": [1]},
    "text": {"data": {"file": "\udc80"}},
    "message": {"message": "\udc80"},
    "much": {"message": "x" * 2_000_000},
    "time": {"ts": 2**63},
    "half a microsecond": {"ts": 1_763_712_000_000_000.5},
    "robot": {"robot": "r" * 65},
    "robot that is no text": {"robot": 5},
    "robot with NUL": {"robot": "\0" * 40},
    "severity": {"severity": "fatal-and-a-very-long-word-indeed"},
    "epoch": {"epoch": "e" * 300, "seq": 1},
    "seq": {"epoch": "e", "seq": 2**63},
    "name": {"name": None},
}


async def test_events_of_a_plugin_that_no_store_can_take_hold_nothing_up(
    tmp_path: Path, store: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(tmp_path, **store) as running:
        robot = running.robot("r")
        event = EventRow(ts=running.hub.clock.now(), robot=None, actor="plugin:odd", name="odd.thing", severity="info")
        for number, (what, wrong) in enumerate(ODD_EVENTS.items(), 1):
            running.hub.bus.publish(EventNoted(actor=HUB, event=msgspec.structs.replace(event, **wrong)))
            await robot.post(samples(robot, 1))
            await running.transport.committed()
            assert robot.acknowledged == number, what
    left_out = [record for record in caplog.messages if "plugin:odd cannot be stored and is left out" in record]
    assert len(left_out) == len(ODD_EVENTS)


async def test_event_of_a_plugin_that_is_odd_and_can_be_stored_is_stored(tmp_path: Path, store: dict[str, Any]) -> None:
    async with running_hub(tmp_path, **store) as running:
        row = EventRow(
            ts=-(2**63),
            robot="r" * 64,
            actor="plugin:" + "a" * 500,
            name="n" * 300,
            severity="info",
            message="a\0b",
            data={"nul": "\0", "number": float("nan"), 5: "a number as key"},  # type: ignore[dict-item]
            cause="c" * 500,
            epoch="e" * 64,
            seq=2**63 - 1,
        )
        running.hub.bus.publish(EventNoted(actor=HUB, event=row))
        await noted(running)
        found = (await running.hub.store.events(robot="r" * 64)).items[0]
        assert (found.message, found.data, found.cause) == (
            "a\0b",
            {"nul": "\0", "number": None, "5": "a number as key"},
            "c" * 500,
        )
