import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.config import Config
from botyard_edge.hubtime import HubClock
from botyard_edge.testing import VirtualClock
from botyard_schemas import Event, State, Time, decode
from botyard_schemas.messages import Unsynced

from .conftest import World

SECOND = 1_000_000


class Robot:
    """A robot's clock that is wrong, drifts and is set, beside the true time, which is the hub's."""

    def __init__(self, *, ahead: float = 0.0, drift: float = 0.0) -> None:
        self.true = 1_763_712_000_000_000.0
        self.steady = 5_000_000.0
        self.ahead = ahead * SECOND
        self.drift = drift
        self.clock = HubClock(self)

    def now(self) -> int:
        return round(self.true + self.ahead)

    def monotonic(self) -> float:
        return round(self.steady) / 1e6

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")

    def wait(self, seconds: float) -> None:
        self.true += seconds * SECOND
        self.steady += seconds * SECOND * (1 + self.drift)
        self.ahead += seconds * SECOND * self.drift

    def ask(self, out: float = 0.01, back: float = 0.01, hub_ahead: float = 0.0) -> None:
        question = self.clock.request()
        self.wait(out)
        received = round(self.true + hub_ahead * SECOND)
        self.wait(0.005)
        replied = round(self.true + hub_ahead * SECOND)
        self.wait(back)
        self.clock.learn(Time(question.origin, received, replied))

    @property
    def error(self) -> float:
        """Seconds by which the stamps are ahead of the hub."""
        return (self.clock.now() - self.true) / SECOND


def test_clock_before_the_first_answer_is_the_robots_own() -> None:
    robot = Robot(ahead=-86_400.0)
    assert robot.clock.now() == robot.now()
    assert robot.clock.offset is robot.clock.round_trip is None
    robot.wait(5)
    robot.ahead = 0.0  # the robot has learned the time from somebody else, which its raw time tells
    stamp = robot.clock.stamp(robot.clock.now())
    assert robot.clock.now() == robot.now() - 86_400 * SECOND
    assert stamp.robot_ts == robot.now()
    assert stamp.unsynced == Unsynced("boot", 10 * SECOND)
    assert stamp.local == robot.clock.now()


@pytest.mark.parametrize("ahead", [-3600.0, -0.5, 0.5, 3600.0])
def test_clock_after_an_answer_is_the_hubs(ahead: float) -> None:
    robot = Robot(ahead=ahead)
    robot.clock.now()
    robot.ask()
    robot.wait(10)
    assert abs(robot.error) < 0.001
    assert robot.clock.offset == pytest.approx(-ahead * SECOND, abs=1000)
    assert robot.clock.round_trip == pytest.approx(20_000, abs=10)


def test_clock_trusts_the_shortest_round_trip_of_eight() -> None:
    robot = Robot(ahead=2.0)
    robot.ask(0.005, 0.005)
    for _ in range(7):
        robot.wait(16)
        robot.ask(0.9, 0.01)  # off by almost half a second
        assert abs(robot.error) < 0.001
    assert robot.clock.round_trip == pytest.approx(10_000, abs=10)
    robot.ask(0.3, 0.3)  # the good one is forgotten now, and this is the best of what is left
    assert robot.clock.round_trip == pytest.approx(600_000, abs=10)


@pytest.mark.parametrize("jump", [-1e7, -30.0, 30.0, 1e7])
def test_jump_of_the_robots_clock_does_not_move_the_stamps(jump: float) -> None:
    robot = Robot()
    robot.ask()
    before = robot.clock.now()
    robot.ahead += jump * SECOND
    robot.wait(1)
    assert robot.clock.now() - before == SECOND
    assert robot.clock.stamp(robot.clock.now()).robot_ts == max(0, robot.now())
    assert robot.clock.offset == pytest.approx(-jump * SECOND, abs=1000)
    robot.ask()
    assert abs(robot.error) < 0.001


def test_drifting_clock_stays_within_a_few_milliseconds_of_the_hub() -> None:
    robot = Robot(ahead=1.0, drift=100e-6)
    dice = random.Random(3)
    for _ in range(200):
        robot.ask(dice.uniform(0.002, 0.02), dice.uniform(0.002, 0.02))
        robot.wait(30)
        assert abs(robot.error) < 0.05


def test_small_correction_backwards_is_made_at_half_speed() -> None:
    robot = Robot(ahead=10.0)
    robot.ask(hub_ahead=10.0)
    robot.clock.now()
    robot.ask()
    stamps = []
    for _ in range(25):
        stamps.append(robot.clock.now())
        robot.wait(1)
    steps = [later - earlier for earlier, later in itertools.pairwise(stamps)]
    assert steps[:10] == [SECOND // 2] * 10
    assert steps[-3:] == [SECOND] * 3
    assert abs(robot.error) < 0.001


def test_clock_far_ahead_is_set_back_at_once_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    robot = Robot(ahead=3600.0)
    robot.ask(hub_ahead=3600.0)
    robot.clock.now()
    robot.ask()
    assert abs(robot.error) < 0.001
    robot.wait(1)
    robot.clock.now()
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "the robot's time is set back by 3600.0 s"
    ]


def test_hub_whose_clock_is_set_is_followed_with_the_next_answer() -> None:
    robot = Robot()
    for _ in range(8):
        robot.ask(0.001, 0.001)
    robot.ask(0.2, 0.2, hub_ahead=100.0)
    assert robot.error == pytest.approx(100.0, abs=0.001)


def test_answers_that_fit_no_question_are_ignored() -> None:
    robot = Robot(ahead=5.0)
    robot.clock.learn(Time(123, 1, 2))
    question = robot.clock.request()
    robot.clock.learn(Time(question.origin))
    robot.clock.learn(Time(question.origin, 10, 9))
    assert abs(robot.error - 5.0) < 0.001
    question = robot.clock.request()
    robot.clock.learn(Time(question.origin, round(robot.true), round(robot.true)))
    known = robot.clock.offset
    robot.clock.learn(Time(question.origin, 5, 5))
    assert known is not None
    assert robot.clock.offset == known, "an answer counts once"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 100)),
        st.tuples(st.just("ask"), st.floats(0, 2)),
        st.tuples(st.just("set"), st.floats(-50, 1e6)),
    ),
    max_size=40,
)


@given(STEPS, st.floats(-50, 1e6), st.floats(-200e-6, 200e-6))
def test_stamps_never_run_backwards_whatever_the_robots_clock_does(
    steps: list[tuple[str, float]], behind: float, drift: float
) -> None:
    robot = Robot(ahead=-behind, drift=drift)
    robot.ask()
    last = robot.clock.now()
    for what, value in steps:
        if what == "wait":
            robot.wait(value)
        elif what == "ask":
            robot.ask(value / 3, value)
        else:
            robot.ahead = value * SECOND
        assert robot.clock.now() >= last
        last = robot.clock.now()


# --- in a whole runtime


async def test_runtime_stamps_in_hub_time_and_tells_both_clocks(world: World, scripted: Callable[..., Config]) -> None:
    async def run(driver: Any, port: Any) -> None:
        for _ in range(100):
            await port.event("tick")
            await driver.context.clock.sleep(1.0)

    world.hub.ahead = 100 * SECOND
    async with world.running(scripted(run)):
        await world.clock.advance(30)
        state = world.hub.bodies("r1", State)[-1]
    envelopes = [e for e in world.hub.messages.values() if isinstance(e.body, Event)]
    assert len(envelopes) > 20
    assert all(e.robot_ts is not None for e in envelopes)
    assert {e.ts - (e.robot_ts or 0) for e in envelopes[3:]} == {100 * SECOND}
    assert state.link is not None
    assert (state.link.clock_offset, state.link.round_trip) == (100 * SECOND, 0)


async def test_time_is_asked_often_at_first_and_then_every_period(
    world: World, scripted: Callable[..., Config]
) -> None:
    async def run(driver: Any, port: Any) -> None:
        await driver.context.clock.sleep(1e9)

    async with world.running(scripted(run)):
        await world.clock.advance(300)
    asked = [decode(m.payload).body for m in world.broker.log if m.topic.endswith("/up/time")]
    moments = [body.origin for body in asked if isinstance(body, Time)]
    pauses = [(later - earlier) / SECOND for earlier, later in itertools.pairwise(moments)]
    assert pauses[:6] == [1, 2, 4, 8, 16, 30]
    assert set(pauses[6:]) == {30}


async def test_robot_that_meets_no_hub_stamps_with_its_own_clock() -> None:
    clock = VirtualClock()
    assert HubClock(clock).now() == clock.now()
