import asyncio
import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.driver import ConfigurationError, ConnectionLostError
from botyard_edge.node import Backoff, Node, RestartPolicy
from botyard_edge.testing import VirtualClock
from botyard_schemas.messages import NodeState


class Watched:
    """A node with a scripted work and the list of its statuses."""

    def __init__(self, clock: VirtualClock, script: list[object]) -> None:
        self.states: list[NodeState] = []
        self.begun: list[float] = []
        self.clock = clock
        self.script = script
        self.node = Node(
            "driver",
            self._work,
            clock=clock,
            rng=random.Random(1),
            on_change=lambda _, state: self.states.append(state),
            policy=RestartPolicy(Backoff(1.0, 8.0), failures=3, within=60.0),
        )

    async def _work(self, ready: Callable[[], None]) -> None:
        self.begun.append(self.clock.monotonic())
        ready()
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await self.clock.sleep(step)
            raise RuntimeError("later")


async def test_node_that_fails_is_started_again_with_growing_pauses() -> None:
    clock = VirtualClock()
    watched = Watched(clock, [ConnectionLostError("no port")] * 5 + [None])
    task = asyncio.create_task(watched.node.run())
    await clock.advance(60)
    assert task.done()
    pauses = [b - a for a, b in zip(watched.begun, watched.begun[1:], strict=False)]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, [1, 2, 4, 8, 8], strict=True))
    assert [s.status for s in watched.states][:4] == ["starting", "running", "backoff", "starting"]
    assert watched.states[-1] == NodeState(status="stopped", restarts=5)
    assert {s.error for s in watched.states if s.status == "backoff"} == {"no port"}


async def test_node_that_was_well_for_long_begins_with_the_shortest_pause_again() -> None:
    clock = VirtualClock()
    watched = Watched(clock, [RuntimeError("x"), RuntimeError("x"), 100.0, None])
    task = asyncio.create_task(watched.node.run())
    await clock.advance(200)
    assert task.done()
    assert watched.begun[3] - (watched.begun[2] + 100.0) <= 1.0


async def test_node_with_options_that_cannot_work_is_failed_for_good() -> None:
    clock = VirtualClock()
    watched = Watched(clock, [ConfigurationError("there is no such file")])
    await watched.node.run()
    assert watched.states[-1] == NodeState("failed", 0, "there is no such file", "configuration")
    assert len(watched.begun) == 1


async def test_node_with_a_long_error_keeps_the_contracts_length() -> None:
    clock = VirtualClock()
    watched = Watched(clock, [RuntimeError("x" * 5000), None])
    task = asyncio.create_task(watched.node.run())
    await clock.advance(5)
    assert task.done()
    assert max(len(state.error or "") for state in watched.states) == 1024


async def test_node_past_its_budget_is_failed_and_says_how_often_it_failed() -> None:
    clock = VirtualClock()
    watched = Watched(clock, [RuntimeError("x")] * 9)
    await _ended(watched)
    assert len(watched.begun) == 4, "three failures in 60 s are borne, the fourth is not"
    last = watched.states[-1]
    assert (last.status, last.reason, last.restarts) == ("failed", "budget", 3)
    assert last.error == "it failed 4 times within 60 s, the last time with: RuntimeError: x"


async def test_node_whose_failures_are_far_apart_keeps_its_budget() -> None:
    watched = Watched(VirtualClock(), [30.0] * 9 + [None])
    await _ended(watched)
    assert watched.states[-1].status == "stopped"
    assert watched.states[-1].restarts == 9


async def test_lost_connections_are_borne_for_ever() -> None:
    watched = Watched(VirtualClock(), [ConnectionLostError("no port")] * 50 + [None])
    await _ended(watched)
    assert watched.states[-1].restarts == 50
    assert {s.reason for s in watched.states if s.status == "backoff"} == {"connection"}


async def _ended(watched: Watched) -> None:
    task = asyncio.create_task(watched.node.run())
    await watched.clock.advance_until(task.done)
    task.result()


FAILURES = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 9.9, 10.1, 45.0, 200.0]), st.sampled_from([OSError, ConnectionLostError])),
    max_size=12,
)


@given(script=FAILURES, borne=st.integers(0, 4))
async def test_node_keeps_its_policy_whatever_happens(script: list[tuple[float, type[Exception]]], borne: int) -> None:
    clock, begun, ended, states = VirtualClock(), [], [], []
    policy = RestartPolicy(Backoff(1.0, 8.0), failures=borne, within=60.0, healthy_after=10.0)

    async def work(ready: Callable[[], None]) -> None:
        begun.append(clock.monotonic())
        ready()
        if len(begun) <= len(script):
            await clock.sleep(script[len(begun) - 1][0])
            ended.append(clock.monotonic())
            raise script[len(begun) - 1][1]("no")

    def note(_: str, state: NodeState) -> None:
        states.append(state)

    node = Node("n", work, clock=clock, rng=random.Random(1), on_change=note, policy=policy)
    task = asyncio.create_task(node.run())
    await clock.advance_until(task.done)
    task.result()
    in_a_row, counted = 0, []
    for index, (lasted, kind) in enumerate(script):
        in_a_row = 1 if lasted >= 10.0 else in_a_row + 1
        if kind is OSError:
            counted.append(ended[index])
            if sum(moment >= ended[index] - 60.0 for moment in counted) > borne:
                assert (states[-1].status, states[-1].reason, len(begun)) == ("failed", "budget", index + 1)
                return
        longest = min(8.0, 2.0 ** (in_a_row - 1))
        assert longest / 2 - 1e-5 <= begun[index + 1] - ended[index] <= longest + 1e-5
    assert (states[-1].status, states[-1].restarts) == ("stopped", len(script))
