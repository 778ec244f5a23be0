"""A robot that sends rubbish is throttled alone."""

from botyard.ingest import throttle as throttle_module
from botyard.ingest.throttle import BURST, RATE, Throttle


def allowed(throttle: Throttle, robot: str, times: int, now: float) -> int:
    return sum(throttle.allows(robot, now) for _ in range(times))


def test_throttle_lets_a_burst_pass_and_then_nothing() -> None:
    assert allowed(Throttle(), "r", 1000, 0.0) == BURST


def test_throttle_fills_up_with_time_and_not_beyond_a_burst() -> None:
    throttle = Throttle()
    allowed(throttle, "r", 1000, 0.0)
    assert allowed(throttle, "r", 1000, 3.0) == 3 * RATE
    assert allowed(throttle, "r", 1000, 10_000.0) == BURST


def test_throttle_of_one_robot_leaves_the_others_alone() -> None:
    throttle = Throttle()
    allowed(throttle, "noisy", 1000, 0.0)
    assert allowed(throttle, "quiet", 10, 0.0) == 10


def test_throttle_remembers_a_bounded_number_of_robots() -> None:
    throttle = Throttle()
    for n in range(throttle_module.MAX_ROBOTS + 500):
        throttle.allows(f"r{n}", 0.0)
    assert len(throttle._buckets) == throttle_module.MAX_ROBOTS
