"""What a benchmark is asked for."""

import re
from typing import Literal, NoReturn
from urllib.parse import urlsplit

import msgspec

Speed = Literal["rate", "max"]

# One robot's samples in one message: the wire contract bounds groups and channels, and the hub the bytes.
MAX_VALUES = 8192
# What is left of a robot's id of 64 characters after its number.
PREFIX = re.compile(r"[A-Za-z0-9_-]{1,48}")


class PlanError(ValueError):
    """Something in the plan makes no sense; the sentence names the option, its value and what was expected."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`robots` send `rate` messages a second each, or with `speed` max as many as acknowledgements allow; a message
    holds `sets` samples of each of `channels`. Times are seconds. The robots begin with the messages of an outage of
    `outage`, which they send at `pace` messages a second each at the most. One message of each `state_every` is a
    state. `connections` None is one for each robot."""

    robots: int = 100
    rate: float = 10.0
    speed: Speed = "rate"
    channels: int = 4
    sets: int = 1
    qos: int = 0
    seconds: float = 10.0
    outage: float = 0.0
    pace: float = 1000.0
    heartbeat: float = 10.0
    state_every: float = 5.0
    connections: int | None = None
    generators: int = 1
    window: int | None = None
    prefix: str = "bench"
    store: str | None = None
    broker: str | None = None
    url: str | None = None
    token: str | None = None
    seed: int = 1
    keep: bool = False

    @property
    def in_flight(self) -> int:
        """Messages of one robot that may wait for the hub's acknowledgement. At full speed, enough robots' windows
        together that the hub never waits for the generator, and not so many that a broker gives up a slow reader."""
        if self.window is not None:
            return self.window
        if self.speed == "rate":
            return 64  # as a real robot's
        size = 120 + self.sets * self.channels * 12 + self.channels * 50
        return max(8, min(1000, 8_000 // self.robots, 8 * 2**20 // size // self.robots))

    @property
    def every(self) -> int:
        """One of so many messages is a state, the others are telemetry; 0 means that none is."""
        if not self.state_every:
            return 0
        return max(2, round((self.rate if self.speed == "rate" else 10.0) * self.state_every))

    def robot(self, number: int) -> str:
        """Id of a robot, from 0."""
        return f"{self.prefix}-{number}"

    def samples(self, messages: int) -> int:
        """Samples of each channel in a robot's first `messages` messages."""
        return (messages - (messages // self.every if self.every else 0)) * self.sets


def check(plan: Plan) -> Plan:
    """The plan itself. Raises PlanError."""
    for option, value, low, high in (
        ("--robots", plan.robots, 1, 100_000),
        ("--channels", plan.channels, 1, 1000),
        ("--sets-per-message", plan.sets, 1, 1000),
        ("--qos", plan.qos, 0, 1),
        ("--seconds", plan.seconds, 0.5, 86_400.0),
        ("--outage", plan.outage, 0.0, 86_400.0),
        ("--state-every", plan.state_every, 0.0, 3600.0),
        ("--heartbeat", plan.heartbeat, 1.0, 3600.0),
        ("--generators", plan.generators, 1, 64),
    ):
        if not low <= value <= high:
            raise PlanError(f"{option}: {value:g} is not between {low:g} and {high:g}")
    for option, rate in (("--rate", plan.rate), ("--drain-rate", plan.pace)):
        if not 0 < rate <= 10_000:
            raise PlanError(f"{option}: {rate:g} is not more than 0 and at most 10000 messages per second")
    if plan.window is not None and not 1 <= plan.window <= 1000:
        raise PlanError(f"--window: {plan.window} is not between 1 and 1000, the gaps that a hub remembers")
    _check_sums(plan)
    _check_places(plan)
    return plan


def _check_sums(plan: Plan) -> None:
    if plan.sets * plan.channels > MAX_VALUES:
        _refuse(
            "--sets-per-message",
            plan.sets,
            f"with {plan.channels} channels at most {MAX_VALUES // plan.channels}, since a message has a largest size",
        )
    if plan.generators > plan.robots:
        _refuse("--generators", plan.generators, f"at most as many as robots, {plan.robots}")
    if plan.connections is not None and not plan.generators <= plan.connections <= plan.robots:
        _refuse("--connections", plan.connections, f"{plan.generators} (--generators) to {plan.robots} (--robots)")
    if plan.outage and plan.speed == "max":
        _refuse("--outage", f"{plan.outage:g}", "none with --speed max, which has no live data to come back to")
    if plan.outage * plan.rate * plan.robots > 50_000_000:
        _refuse("--outage", f"{plan.outage:g}", "at most 50 million messages of all robots together")


def _check_places(plan: Plan) -> None:
    if not PREFIX.fullmatch(plan.prefix):
        _refuse("--prefix", repr(plan.prefix), "1 to 48 of A-Z, a-z, 0-9, _ and -")
    for option, text, schemes in (
        ("--url", plan.url, ("http", "https")),
        ("--broker", plan.broker, ("mqtt", "mqtts")),
        ("--store", plan.store, ("sqlite", "postgresql")),
    ):
        if text is not None and not _is_url(text, schemes):
            _refuse(option, repr(text), f"an address that begins with {' or '.join(f'{one}://' for one in schemes)}")
    if plan.url and not plan.broker:
        raise PlanError("--broker: is missing, the robots of a hub that runs already need its broker's address, too")
    if plan.url and plan.store:
        raise PlanError("--store: only for a hub that is started here, not together with --url")


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname or parts.path or parts.query) and parts.port != 0
    except ValueError:
        return False


def _refuse(option: str, value: object, expected: str) -> NoReturn:
    raise PlanError(f"{option}: {value} does not fit, expected {expected}")
