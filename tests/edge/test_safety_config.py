import math
from pathlib import Path

import pytest

from botyard_edge.config import load_config
from botyard_edge.safety.polygons import contains, fault, meets, stays
from botyard_schemas.settings import SettingsError

SQUARE = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))


def write(tmp_path: Path, safety: str) -> Path:
    path = tmp_path / "robot.yaml"
    indented = "".join(f"  {line}\n" for line in safety.splitlines())
    path.write_text(f"robot: r1\ndrivers: {{sim: {{}}}}\nsafety:\n{indented}")
    return path


def test_limits_are_read_with_their_units(tmp_path: Path) -> None:
    text = "limits: {max_speed: 3.6 km/h, max_angular_speed: 90 deg/s, min_battery: 15 %, max_acceleration: .5 m/s^2}"
    config = load_config(write(tmp_path, text), {"BOTYARD_EDGE__SAFETY__WATCHDOGS__LINK_LOST": "stop"})
    assert config.safety is not None
    limits, watchdogs = config.safety.limits, config.safety.watchdogs
    assert limits.max_speed == pytest.approx(1.0)
    assert limits.max_angular_speed == pytest.approx(math.pi / 2)
    assert (limits.min_battery, limits.max_acceleration, limits.max_tilt) == (0.15, 0.5, None)
    assert (watchdogs.command_timeout, watchdogs.event_loop, watchdogs.link_timeout) == (0.5, 0.25, 10.0)
    assert (watchdogs.link, watchdogs.clock_jump) == ("stop", None)
    assert limits.clamps("max_speed")


def test_return_to_dock_is_refused_where_no_driver_can_dock(tmp_path: Path) -> None:
    path = write(tmp_path, "watchdogs:\n  link_lost: return_to_dock")
    config = load_config(path, {})
    assert config.dock == "dock", "the driver sim can"
    path.write_text(path.read_text().replace("sim: {}", "replay: {options: {file: a.csv}}"))
    with pytest.raises(SettingsError) as caught:
        load_config(path, {})
    (said,) = caught.value.problems
    assert said.startswith(f"{path}:5: safety.watchdogs.link_lost: 'return_to_dock': no driver of this robot can dock;")


def test_without_the_section_there_is_no_policy(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("robot: r1\ndrivers: {sim: {}}\n")
    assert load_config(path, {}).safety is None


@pytest.mark.parametrize(
    ("safety", "line", "said"),
    [
        (
            "limits:\n  max_speed: 1.2",
            5,
            "safety.limits.max_speed: 1.2 has no unit, expected a speed such as '1.2 m/s'",
        ),
        ("limits:\n  max_speed: 1.2 kg", 5, "safety.limits.max_speed: '1.2 kg' has a unit that is none of m/s, km/h"),
        (
            "limits:\n  max_speed: fast",
            5,
            "safety.limits.max_speed: 'fast' is no speed, expected one such as '1.2 m/s'",
        ),
        ("limits:\n  max_speed: -1 m/s", 5, "safety.limits.max_speed: '-1 m/s' is not from 0 to 1000"),
        ("limits:\n  min_battery: 150 %", 5, "safety.limits.min_battery: '150 %' is not from 0 to 1"),
        (
            "limits:\n  max_tilt: 20 deg",
            5,
            "safety.limits.max_tilt: nothing is measured: name the channels",
        ),
        ("limits:\n  max_sped: 1 m/s", 5, "safety.limits.max_sped: unknown key, did you mean 'max_speed'?"),
        ("watchdogs:\n  link_timeout: 10", 5, "safety.watchdogs.link_timeout: 10 has no unit, expected a time such as"),
        (
            "stopping: {deceleration: 1 m/s2}",
            4,
            "safety.stopping.deceleration: there is neither a geofence nor a keep-out zone to stop before",
        ),
        ("overspeed: 10", 4, "safety.overspeed: 10 has no unit, expected a share such as '15 %'"),
        (
            "geofence:\n  polygons_m:\n  - [[0, 0], [2, 2], [2, 0], [0, 2]]",
            6,
            "geofence.polygons_m[0]: the polygon crosses itself: the edge from corner 1 meets the one from corner 3",
        ),
        (
            "watchdogs:\n  required_nodes: [driver.bas]",
            5,
            "'driver.bas' is no driver of this robot, known are driver.sim",
        ),
        ("keep_out:\n  polygons_m:\n  - [[0, 0], [2, 2]]", 6, "the polygon has 2 corners, expected at least 3"),
    ],
)
def test_mistake_is_told_with_file_line_and_key(safety: str, line: int, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, safety)
    with pytest.raises(SettingsError) as caught:
        load_config(path, {})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{path}:{line}: ")
    assert said in caught.value.problems[0]


@pytest.mark.parametrize(
    ("corners", "said"),
    [
        (SQUARE, None),
        (((0, 0), (4, 0), (2, 1), (4, 4), (0, 4)), None),
        (((0, 0), (4, 0), (0, 0), (4, 4)), "crosses itself"),
        (((0, 0), (4, 0), (4, 0), (0, 4)), "same corner twice"),
        (((0, 0), (4, 0), (2, 0), (0, 4)), "crosses itself"),
        (((0, 0), (4, 0), (4, 4), (2, 0), (0, 4)), "crosses itself"),
    ],
)
def test_polygon_that_is_not_simple_is_found(corners: tuple[tuple[float, float], ...], said: str | None) -> None:
    found = fault(corners)
    assert found is None if said is None else said in (found or "")


L_SHAPE = ((0.0, 0.0), (4.0, 0.0), (4.0, 1.0), (1.0, 1.0), (1.0, 4.0), (0.0, 4.0))
BESIDE = ((4.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0))


@pytest.mark.parametrize(
    ("a", "b", "inside"),
    [
        ((0.5, 3.0), (0.5, 0.5), True),
        ((0.5, 3.0), (3.0, 0.5), False),  # across the corner
        ((0.5, 0.0), (7.0, 0.0), True),  # along the edge, and on through the neighbour
        ((2.0, 0.5), (7.0, 3.5), False),  # out of one before it is in the other
        ((3.0, 0.5), (7.0, 0.5), True),
        ((3.0, 0.5), (3.0, 0.5), True),
        ((3.0, 2.0), (3.0, 2.0), False),
        ((7.0, 2.0), (9.0, 2.0), False),
    ],
)
def test_way_stays_in_the_areas_taken_together_or_does_not(
    a: tuple[float, float], b: tuple[float, float], inside: bool
) -> None:
    assert stays((L_SHAPE, BESIDE), a, b) == inside
    assert stays((L_SHAPE, BESIDE), b, a) == inside


def test_points_and_ways_are_told_from_those_outside() -> None:
    assert contains(SQUARE, (2, 2))
    assert contains(SQUARE, (4, 2)), "the edge belongs to it"
    assert contains(SQUARE, (0, 0))
    assert not contains(SQUARE, (4.001, 2))
    assert meets(SQUARE, (-1, 2), (5, 2))
    assert meets(SQUARE, (-1, 5), (5, -1))
    assert not meets(SQUARE, (-1, 4.1), (5, 4.1))
