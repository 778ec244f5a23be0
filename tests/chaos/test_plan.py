import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chaos.plan import HUB_JUMP, KINDS, ROBOT_JUMP, Setting, make_plan

ROOT = Path(__file__).parents[2]

SETTINGS = st.builds(
    Setting,
    robots=st.sampled_from([("alpha",), ("alpha", "beta", "gamma")]),
    store=st.sampled_from(["sqlite", "postgres"]),
    broker=st.sampled_from(["embedded", "mosquitto"]),
    wires=st.sampled_from([("robots",), ("robots", "hub"), ("robots", "websocket")]),
)


@given(st.integers(0, 2**31), st.integers(0, 60), SETTINGS)
def test_plan_kills_as_many_as_wished_and_harms_only_what_is_there(seed: int, kills: int, setting: Setting) -> None:
    plan = make_plan(seed, kills, setting)
    assert sum(fault.kills for fault in plan) == kills
    assert [fault.number for fault in plan] == list(range(1, len(plan) + 1))
    for fault in plan:
        kind = KINDS[fault.kind]
        assert fault.target in kind.targets(setting)
        assert kind.lasts[0] <= fault.lasts <= kind.lasts[1]
        assert kind.amount[0] <= fault.amount <= kind.amount[1]
        assert str(fault)


@given(st.integers(0, 2**31), SETTINGS)
def test_plan_is_long_every_kind_that_is_possible_comes(seed: int, setting: Setting) -> None:
    kinds = Counter(fault.kind for fault in make_plan(seed, 40, setting))
    assert set(kinds) == {name for name, kind in KINDS.items() if kind.targets(setting)}


@settings(max_examples=20)
@given(st.integers(0, 2**31), SETTINGS)
def test_plan_of_the_same_seed_is_the_same_and_of_another_is_not(seed: int, setting: Setting) -> None:
    assert make_plan(seed, 20, setting) == make_plan(seed, 20, setting)
    assert make_plan(seed, 20, setting) != make_plan(seed + 1, 20, setting)


def test_plan_fewer_kills_are_the_beginning_of_more() -> None:
    setting = Setting()
    short = make_plan(5, 10, setting)
    assert make_plan(5, 50, setting)[: len(short)] == short


def test_plan_clocks_jump_less_than_the_hub_allows() -> None:
    faults = [fault for seed in range(20) for fault in make_plan(seed, 20, Setting()) if fault.kind == "clock"]
    hub = [abs(fault.amount) for fault in faults if fault.target == "hub"]
    robots = [abs(fault.amount) for fault in faults if fault.target != "hub"]
    assert hub
    assert robots
    assert max(hub) <= HUB_JUMP
    assert max(robots) + max(hub) < 3600.0
    assert max(robots) <= ROBOT_JUMP


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_plan_is_printed_in_another_process_it_is_the_same(store: str) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--plan", "--seed", "7", "--kills", "15", "--store", store]
    printed = [
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
        for _ in range(2)
    ]
    assert printed[0] == printed[1]
    assert ("PostgreSQL" in printed[0]) is (store == "postgres")
