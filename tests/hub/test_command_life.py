"""The state machine of a command: whatever comes, in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from botyard.commands.life import ASSUMED, TABLE, UNANSWERED, Sign, Stage, answered, is_open, moved, stage_of
from botyard.store.base import CommandRow
from botyard_schemas.messages import Report

REPORTS = ("accepted", "running", "succeeded", "failed", "cancelled", "expired", "rejected")
EXECUTED = ("succeeded", "failed", "cancelled")
RANK = {"accepted": 1, "running": 2, "rejected": 3, "expired": 3, "succeeded": 4, "failed": 4, "cancelled": 4}


def row() -> CommandRow:
    return CommandRow(
        id="c", robot="r", name="n", args={}, created=0, expires=9, actor="hub", status="queued", changed=0
    )


def step(command: CommandRow, sign: str, at: int) -> CommandRow:
    if sign in REPORTS:
        return answered(command, Report("c", sign, reason=sign), at)  # type: ignore[arg-type]
    return moved(command, Sign[sign], at, sign)


signs = st.lists(st.sampled_from([*REPORTS, "SEND", "DEADLINE", "WITHDRAW"]), max_size=12)


@given(signs)
def test_what_the_robot_said_last_of_all_counts_whatever_the_hub_assumed(history: list[str]) -> None:
    command = row()
    for at, sign in enumerate(history, 1):
        command = step(command, sign, at)
    said = [sign for sign in history if sign in REPORTS]
    if not said:
        assert stage_of(command) in (*UNANSWERED, *ASSUMED)
        assert command.answered is None
        return
    highest = max(RANK[sign] for sign in said)
    first = next(sign for sign in said if RANK[sign] == highest)
    assert command.status == first
    assert command.answered is not None


@given(signs)
def test_every_step_is_allowed_and_what_ended_at_the_robot_never_opens_again(history: list[str]) -> None:
    command = row()
    for at, sign in enumerate(history, 1):
        before, command = command, step(command, sign, at)
        if command.status == before.status and stage_of(command) == stage_of(before):
            continue
        known = Sign[sign.upper()] if sign in REPORTS else Sign[sign]
        assert TABLE[known][stage_of(before)] == stage_of(command)
        assert command.changed == at
        if before.answered is not None and not is_open(before):
            assert not is_open(command)


@given(signs, signs)
def test_reports_that_come_twice_change_nothing(history: list[str], more: list[str]) -> None:
    command = row()
    for at, sign in enumerate([*history, *more], 1):
        command = step(command, sign, at)
    again = command
    for sign in (sign for sign in history if sign in REPORTS):
        again = step(again, sign, 99)
    assert again.status == command.status


@given(signs)
def test_command_is_late_exactly_when_the_hub_had_given_it_up_before_the_first_answer(history: list[str]) -> None:
    command = row()
    for at, sign in enumerate(history, 1):
        command = step(command, sign, at)
    first = next((n for n, sign in enumerate(history) if sign in REPORTS), None)
    given_up = first is not None and any(sign in ("DEADLINE", "WITHDRAW") for sign in history[:first])
    assert command.late == given_up


def test_every_stage_can_be_reached_and_every_sign_moves_something() -> None:
    reached = {Stage.QUEUED} | {after for moves in TABLE.values() for after in moves.values()}
    assert reached == set(Stage)
    assert set(TABLE) == set(Sign)
    assert all(TABLE.values())
