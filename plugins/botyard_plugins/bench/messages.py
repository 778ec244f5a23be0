"""What the virtual robots say: messages prepared as bytes, in which only number, time stamp and values change.

The values are those of sensors with noise and a resolution, out of a long prepared series, so that they compress on the
hub's disk no better than a real robot's. Each robot starts somewhere else in it.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from botyard_plugins.bench import mqtt
from botyard_plugins.bench.plan import Plan
from botyard_schemas import Channel, Envelope, Group, Pose, Presence, State, Telemetry, encode, topics
from botyard_schemas.messages import About, Battery, LinkState, ValueType

# Samples of each channel before the values repeat, which is longer than a compressor looks back; and what all of them
# may take in memory, in bytes.
PERIOD = 8192
MEMORY = 48 * 2**20
MIN_BODIES = 64
# Channels that are sampled as fast as a message is made have stamps so many microseconds apart.
SHORTEST_STEP = 10
STATES = 512


@dataclass(frozen=True, slots=True)
class Sensor:
    """A measured quantity: it wanders around `centre` by `walk` a sample, with `noise`, in steps of 10^-`digits`."""

    name: str
    unit: str | None
    centre: float
    walk: float
    noise: float
    digits: int
    type: ValueType = "number"


# What a mobile robot has, as the driver `sim` does. More channels are more of the same.
SENSORS = (
    Sensor("drive.speed", "m/s", 0.8, 0.02, 0.004, 3),
    Sensor("battery.voltage", "V", 25.1, 0.001, 0.01, 2),
    Sensor("motor.temperature", "Cel", 41.5, 0.01, 0.05, 1),
    Sensor("gripper.force", "N", 4.1, 0.05, 0.12, 3),
    Sensor("motor.current", "A", 2.4, 0.03, 0.06, 3),
    Sensor("wifi.signal", "dB{mW}", -61.0, 0.1, 1.2, 0, "integer"),
    Sensor("imu.yaw_rate", "rad/s", 0.0, 0.01, 0.003, 5),
    Sensor("gripper.closed", None, 0.0, 0.02, 0.0, 0, "boolean"),
)


def channel_names(count: int) -> list[str]:
    """Names of the first `count` channels."""
    return [_sensor(i).name + (f".{i // len(SENSORS) + 1}" if i >= len(SENSORS) else "") for i in range(count)]


def _sensor(number: int) -> Sensor:
    return SENSORS[number % len(SENSORS)]


def _series(sensor: Sensor, count: int, rng: random.Random) -> list[float | int | bool]:
    """A mean-reverting random walk (an Ornstein-Uhlenbeck process in steps) with noise on top."""
    values: list[float | int | bool] = []
    away = 0.0
    for _ in range(count):
        away += rng.gauss(0.0, sensor.walk) - 0.005 * away
        value = sensor.centre + away + (rng.gauss(0.0, sensor.noise) if sensor.noise else 0.0)
        if sensor.type == "boolean":
            values.append(value > 0)
        else:
            values.append(round(value) if sensor.type == "integer" else round(value, sensor.digits))
    return values


class Bodies:
    """The ends of messages, from the type on, ready to be sent. Shared by all robots of a process."""

    def __init__(self, plan: Plan, rng: random.Random) -> None:
        self.every = plan.every
        rate = plan.rate if plan.speed == "rate" else math.inf
        self.step = max(SHORTEST_STEP, round(1e6 / rate / plan.sets))  # µs between two samples of a channel
        size = 40 * plan.channels + 8 * plan.channels * plan.sets
        count = max(MIN_BODIES, min(-(-PERIOD // plan.sets), MEMORY // size))
        self.telemetry = [_end(body) for body in _telemetry(plan, count, self.step, rng)]
        self.states = [_end(body) for body in _states(rng)]


def _telemetry(plan: Plan, count: int, step: int, rng: random.Random) -> Iterator[Telemetry]:
    names = channel_names(plan.channels)
    series = [_series(_sensor(i), count * plan.sets, rng) for i in range(plan.channels)]
    dt = [-step * (plan.sets - 1 - i) for i in range(plan.sets)]
    for number in range(count):
        part = slice(number * plan.sets, (number + 1) * plan.sets)
        yield Telemetry(
            [
                Group(
                    dt,
                    [
                        Channel(name, values[part], type=_sensor(i).type, unit=_sensor(i).unit)
                        for i, (name, values) in enumerate(zip(names, series, strict=True))
                    ],
                )
            ]
        )


def _states(rng: random.Random) -> Iterator[State]:
    """A round trip, with the battery going down."""
    for number in range(STATES):
        turn = math.tau * number / STATES
        pose = Pose("bench", round(20 * math.cos(turn), 3), round(12 * math.sin(turn), 3), round(turn - math.pi, 4))
        battery = Battery(round(1 - 0.8 * number / STATES, 3), round(25.1 + rng.gauss(0, 0.01), 2), charging=False)
        yield State("auto", "ok", busy=True, doing="driving in a circle", about=About(type="virtual"), pose=pose,
                    battery=battery, link=LinkState())  # fmt: skip


def _end(body: Telemetry | State) -> bytes:
    """What follows the time stamp in an encoded message."""
    message = encode(Envelope("r", 0, body, "e", 1))
    return message[message.index(b',"type":') :]


class Template:
    """One robot's messages. `shift` is where in the series it starts."""

    __slots__ = ("_begin", "_bodies", "_qos", "_shift", "_state_topic", "_telemetry_topic")

    def __init__(self, robot: str, epoch: str, bodies: Bodies, qos: int, shift: int) -> None:
        self._bodies = bodies
        self._qos = qos
        self._shift = shift
        self._telemetry_topic = mqtt.text(topics.up(robot, "telemetry"))
        self._state_topic = mqtt.text(topics.up(robot, "state"))
        message = encode(Envelope(robot, 0, Telemetry([]), epoch, 1))
        self._begin = message[: message.index(b'1,"ts":')]

    def payload(self, seq: int, ts: int) -> bytes:
        """The message as JSON."""
        every, bodies = self._bodies.every, self._bodies
        ring = bodies.states if every and seq % every == 0 else bodies.telemetry
        return b'%b%d,"ts":%d%b' % (self._begin, seq, ts, ring[(seq + self._shift) % len(ring)])

    def packet(self, seq: int, ts: int, identifiers: Iterator[int]) -> bytes:
        """The message as an MQTT packet. Telemetry has the plan's QoS, a state 1."""
        every, bodies = self._bodies.every, self._bodies
        if every and seq % every == 0:
            topic, ring, qos = self._state_topic, bodies.states, 1
        else:
            topic, ring, qos = self._telemetry_topic, bodies.telemetry, self._qos
        payload = b'%b%d,"ts":%d%b' % (self._begin, seq, ts, ring[(seq + self._shift) % len(ring)])
        if not qos:
            return b"\x30%b%b%b" % (mqtt.length(len(topic) + len(payload)), topic, payload)
        size = len(topic) + 2 + len(payload)
        return b"\x32%b%b%b%b" % (mqtt.length(size), topic, next(identifiers).to_bytes(2, "big"), payload)


def presence(robot: str, now: int, status: str, reason: str, session: str, interval: float | None) -> bytes:
    """Presence as JSON; `now` in microseconds, `interval` in seconds."""
    since = now if status == "online" else None
    body = Presence(status=status, session=session, reason=reason, since=since, interval=interval)  # type: ignore[arg-type]
    return encode(Envelope(robot, now, body))
