"""What will happen in a campaign: a list of faults that follows from the seed, and from what there is to harm."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Range = tuple[float, float]

# Longest jumps of clocks, in seconds. Together they stay below `ingest.max_future`, since the hub refuses what is
# further ahead of its own clock.
ROBOT_JUMP, HUB_JUMP = 1800.0, 600.0

# The usual share of calm faults, whose time to recover can be told.
CALM = 0.3


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to harm: the robots, the store, the broker, and the wires between them that have a proxy."""

    robots: tuple[str, ...] = ("alpha", "beta", "gamma")
    store: Literal["sqlite", "postgres"] = "sqlite"
    broker: Literal["embedded", "mosquitto"] = "embedded"
    wires: tuple[str, ...] = ("robots",)

    @property
    def mqtt_wires(self) -> tuple[str, ...]:
        """The wires on which MQTT is spoken."""
        return tuple(wire for wire in self.wires if wire != "websocket")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `after` seconds after the one before it began, to `target`, for `lasts` seconds. What `amount` means
    depends on the kind. `calm`: everything has recovered before it, and has to recover after it."""

    number: int
    after: float
    kind: str
    target: str
    lasts: float = 0.0
    amount: float = 0.0
    calm: bool = False

    @property
    def kills(self) -> bool:
        """Whether a process is killed."""
        return KINDS[self.kind].kills

    def __str__(self) -> str:
        told = KINDS[self.kind].tells.format(target=self.target, amount=self.amount)
        lasting = f" for {self.lasts:.2f} s" if self.lasts else ""
        return f"{told}{lasting}{', calm' if self.calm else ''}"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of fault is drawn: how often out of all, whom it strikes, how long and how much."""

    tells: str
    weight: int
    targets: Callable[[Setting], tuple[str, ...]]
    lasts: Range = (0.0, 0.0)
    amount: Range = (0.0, 0.0)
    kills: bool = field(default=False)


def _hub(_: Setting) -> tuple[str, ...]:
    return ("hub",)


def _only_with(store: str) -> Callable[[Setting], tuple[str, ...]]:
    return lambda setting: ("hub",) if setting.store == store else ()


# `lasts` of a kill is how long the process stays away; the hub itself starts its broker and its helpers again.
KINDS: dict[str, Kind] = {
    "kill robot": Kind("kill {target}", 5, lambda setting: setting.robots, lasts=(0.0, 0.3), kills=True),
    "kill hub": Kind("kill the hub", 3, _hub, lasts=(0.0, 0.5), kills=True),
    "kill helper": Kind("kill a helper of the hub", 2, _only_with("sqlite"), amount=(0.0, 1.0), kills=True),
    "kill postgres": Kind("kill PostgreSQL", 2, _only_with("postgres"), lasts=(0.0, 1.5), kills=True),
    "kill broker": Kind("kill the broker", 2, _hub, lasts=(0.0, 0.5), kills=True),
    "cut": Kind("cut the wire of {target}", 1, lambda setting: setting.wires, lasts=(0.1, 1.5)),
    "hold": Kind("let nothing pass on the wire of {target}", 1, lambda setting: setting.wires, lasts=(0.1, 2.0)),
    "delay": Kind(
        "delay the wire of {target} by {amount:.2f} s", 1, lambda setting: setting.wires, (0.5, 4.0), (0.01, 0.3)
    ),
    "duplicate": Kind(
        "double {amount:.0%} of the messages of {target}", 2, lambda setting: setting.mqtt_wires, (0.5, 4.0), (0.1, 0.9)
    ),
    "reorder": Kind(
        "hold back {amount:.0%} of the messages of {target}",
        2,
        lambda setting: setting.mqtt_wires,
        (0.5, 4.0),
        (0.1, 0.9),
    ),
    "echo": Kind(
        "bring {amount:.0f} old messages of each of {target} again",
        1,
        lambda setting: ("robots",) if "robots" in setting.wires else (),
        amount=(10.0, 200.0),
    ),
    "clock": Kind(
        "set the clock of {target} {amount:+.1f} s off",
        2,
        lambda setting: (*setting.robots, "hub"),
        amount=(-ROBOT_JUMP, ROBOT_JUMP),
    ),
    "disk full": Kind(
        "let the disk of {target} be full",
        1,
        lambda setting: (*setting.robots, *_only_with("sqlite")(setting)),
        lasts=(0.3, 3.0),
    ),
}


def make_plan(seed: int, kills: int, setting: Setting, calm: float = CALM) -> tuple[Fault, ...]:
    """The faults of a campaign, until so many processes have been killed. The same arguments give the same plan.

    `calm` is the share of the faults before and after which everything has to have recovered.
    """
    rng = random.Random(f"chaos {seed}")
    faults: list[Fault] = []
    for kind in _kinds(rng, setting):
        if kills <= 0:
            return tuple(faults)
        fault = _fault(rng, len(faults) + 1, kind, setting, calm)
        kills -= fault.kills
        faults.append(fault)
    raise AssertionError("kinds never end")


def _kinds(rng: random.Random, setting: Setting) -> Iterator[str]:
    """Names of kinds in random order, such that each comes as often as its weight says before all begin again."""
    bag = [name for name, kind in KINDS.items() if kind.targets(setting) for _ in range(kind.weight)]
    while True:
        rng.shuffle(bag)
        yield from bag


def _fault(rng: random.Random, number: int, name: str, setting: Setting, calm: float) -> Fault:
    kind = KINDS[name]
    target = rng.choice(kind.targets(setting))
    amount = rng.uniform(*kind.amount)
    if name == "clock" and target == "hub":
        amount *= HUB_JUMP / ROBOT_JUMP
    return Fault(
        number=number,
        after=round(rng.uniform(0.1, 1.5), 3),
        kind=name,
        target=target,
        lasts=round(rng.uniform(*kind.lasts), 3),
        amount=round(amount, 3),
        calm=rng.random() < calm,
    )
