"""The event bus."""

import logging
from dataclasses import dataclass

import pytest

from botyard.core.actor import HUB
from botyard.core.bus import Bus
from botyard.core.events import HubEvent, RobotChanged, RobotRemoved


def changed(robot: str) -> RobotChanged:
    return RobotChanged(actor=HUB, robot=robot)


def test_bus_delivers_at_once_in_the_order_of_subscription() -> None:
    bus, heard = Bus(), []
    for name in "abc":
        bus.subscribe(RobotChanged, lambda event, name=name: heard.append(name + event.robot))  # type: ignore[misc]
    bus.publish(changed("1"))
    bus.publish(changed("2"))
    assert heard == ["a1", "b1", "c1", "a2", "b2", "c2"]


def test_bus_delivers_to_subscribers_of_exactly_that_class() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Special(RobotChanged):
        pass

    bus = Bus()
    heard: list[HubEvent] = []
    bus.subscribe(HubEvent, heard.append)
    bus.subscribe(RobotRemoved, heard.append)
    bus.subscribe(RobotChanged, heard.append)
    event = changed("r")
    bus.publish(Special(actor=HUB, robot="r"))
    bus.publish(event)
    assert heard == [event]


def test_bus_unsubscribe_ends_one_subscription_and_may_be_called_again() -> None:
    bus = Bus()
    first: list[RobotChanged] = []
    second: list[RobotChanged] = []
    unsubscribe = bus.subscribe(RobotChanged, first.append)
    bus.subscribe(RobotChanged, second.append)
    unsubscribe()
    unsubscribe()
    bus.publish(changed("r"))
    assert (len(first), len(second)) == (0, 1)


def test_bus_handler_that_is_subscribed_twice_hears_twice_until_one_ends() -> None:
    bus = Bus()
    heard: list[RobotChanged] = []
    one, two = bus.subscribe(RobotChanged, heard.append), bus.subscribe(RobotChanged, heard.append)
    bus.publish(changed("r"))
    assert len(heard) == 2
    one()
    bus.publish(changed("r"))
    assert len(heard) == 3
    two()
    bus.publish(changed("r"))
    assert len(heard) == 3


def test_bus_handler_that_raises_stops_nobody_and_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_event: RobotChanged) -> None:
        raise ValueError("on purpose")

    bus = Bus()
    heard: list[RobotChanged] = []
    bus.subscribe(RobotChanged, broken)
    bus.subscribe(RobotChanged, heard.append)
    with caplog.at_level(logging.ERROR):
        bus.publish(changed("r"))
    assert len(heard) == 1
    (record,) = caplog.records
    assert "broken" in record.getMessage()
    assert "RobotChanged" in record.getMessage()


def test_bus_handler_may_subscribe_and_unsubscribe_while_an_event_is_delivered() -> None:
    bus = Bus()
    heard: list[str] = []

    def once(_event: RobotChanged) -> None:
        heard.append("once")
        unsubscribe()
        bus.subscribe(RobotChanged, lambda _: heard.append("late"))

    unsubscribe = bus.subscribe(RobotChanged, once)
    bus.subscribe(RobotChanged, lambda _: heard.append("always"))
    bus.publish(changed("1"))
    assert heard == ["once", "always"]
    bus.publish(changed("2"))
    assert heard == ["once", "always", "always", "late"]
