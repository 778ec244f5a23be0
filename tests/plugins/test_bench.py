"""`botyard bench`: messages, outbox, statistics, and what it refuses. Whole runs are in tests/system."""

import os
import random
import statistics
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from botyard_edge.ranges import joined
from botyard_plugins.bench import mqtt, usage
from botyard_plugins.bench.messages import SENSORS, Bodies, Template, channel_names, presence
from botyard_plugins.bench.outbox import AHEAD, Outbox
from botyard_plugins.bench.pace import FLOOR, START, Pace
from botyard_plugins.bench.plan import Plan, PlanError, check
from botyard_plugins.bench.statistics import Durations, percentiles
from botyard_schemas import Presence, State, Telemetry, decode, topics

NOW = 1_763_712_000_123_456


def template(plan: Plan, robot: str = "bench-0") -> Template:
    return Template(robot, "epoch-1", Bodies(plan, random.Random(1)), plan.qos, shift=17)


# --- messages

BY_QOS = [template(Plan(qos=qos, state_every=1.0)) for qos in (0, 1)]


@pytest.mark.parametrize(("channels", "sets"), [(1, 1), (4, 1), (4, 50), (2 * len(SENSORS) + 1, 3)])
def test_message_of_any_shape_keeps_the_contract(channels: int, sets: int) -> None:
    plan = Plan(channels=channels, sets=sets, rate=10.0, state_every=5.0)
    made = template(plan)
    for seq in range(1, 120):
        envelope = decode(made.payload(seq, NOW + seq))
        assert (envelope.robot, envelope.epoch, envelope.seq, envelope.ts) == ("bench-0", "epoch-1", seq, NOW + seq)
        if seq % 50 == 0:
            assert isinstance(envelope.body, State)
            continue
        assert isinstance(envelope.body, Telemetry)
        (group,) = envelope.body.groups
        assert [channel.name for channel in group.channels] == channel_names(channels)
        assert group.dt == [-round(1e5 / sets) * (sets - 1 - i) for i in range(sets)]


@given(seq=st.integers(1, 2**53 - 1), ts=st.integers(0, 2**53 - 1), qos=st.sampled_from([0, 1]))
def test_packet_taken_apart_is_the_message_on_its_topic(seq: int, ts: int, qos: int) -> None:
    made = BY_QOS[qos]
    packets, used = mqtt.split(packet := made.packet(seq, ts, mqtt.identifiers()))
    assert (len(packets), used) == (1, len(packet))
    topic, payload = mqtt.published(*packets[0])
    envelope = decode(payload)
    assert (envelope.seq, envelope.ts) == (seq, ts)
    assert topic.decode() == topics.up("bench-0", envelope.type)
    assert packets[0][0] >> 1 & 3 == (1 if envelope.type == "state" else qos)
    assert payload == made.payload(seq, ts), "what is sent again is the same"


def test_values_of_a_robot_are_like_a_sensors_and_do_not_repeat_soon() -> None:
    made = template(Plan(channels=1, state_every=0.0))
    values = []
    for seq in range(1, 4001):
        body = decode(made.payload(seq, NOW)).body
        assert isinstance(body, Telemetry)
        values += body.groups[0].channels[0].values
    assert abs(statistics.fmean(values) - SENSORS[0].centre) < 0.5
    assert len({tuple(values[i : i + 8]) for i in range(0, len(values), 8)}) == len(values) // 8


def test_presence_keeps_the_contract() -> None:
    body = decode(presence("bench-0", NOW, "online", "connected", "session-1", 10.0)).body
    assert body == Presence("online", "session-1", "connected", NOW, 10.0)
    assert decode(presence("bench-0", NOW, "offline", "last_will", "session-1", None)).body == Presence(
        "offline", "session-1", "last_will"
    )


# --- MQTT


@given(bodies=st.lists(st.binary(max_size=300), max_size=5), cut=st.integers(0, 2000))
def test_packets_cut_anywhere_come_out_whole(bodies: list[bytes], cut: int) -> None:
    stream = b"".join(mqtt.packet(mqtt.PUBLISH, body) for body in bodies)
    first, used = mqtt.split(stream[:cut])
    second, rest = mqtt.split(stream[:cut][used:] + stream[cut:])
    assert [body for _, body in first + second] == bodies
    assert used + rest == len(stream)


@given(size=st.sampled_from([0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455]))
def test_length_at_the_limits_of_its_encodings_has_the_bytes_of_the_standard(size: int) -> None:
    encoded = mqtt.length(size)
    assert len(encoded) == 1 + sum(size > limit for limit in (127, 16_383, 2_097_151))
    assert sum((byte & 127) << 7 * i for i, byte in enumerate(encoded)) == size


def test_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="four bytes"):
        mqtt.split(b"\x30\xff\xff\xff\xff\x01")


# --- the outbox


class OutboxMachine(RuleBasedStateMachine):
    """A robot, a line that loses, and a hub that acknowledges what it has without a gap."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Outbox(window=4, stamps=range(1, 9))
        self.has: set[int] = set()
        self.sent: set[int] = set()

    def _send(self, seq: int, *, lost: bool) -> None:
        assert self.box.acked < seq <= self.box.issued
        assert self.box.ts(seq) == seq
        assert seq not in self.sent, "sent twice without a reason"
        self.sent.add(seq)
        if not lost:
            self.has.add(seq)

    @rule(lost=st.booleans())
    def make(self, lost: bool) -> None:
        waiting = self.box.next <= self.box.issued
        seq = self.box.add(self.box.issued + 1)
        sent = self.box.take_ahead() if waiting else self.box.take()
        if sent:
            assert sent == seq
            self._send(seq, lost=lost)

    @rule(lost=st.booleans())
    def send(self, lost: bool) -> None:
        room = self.box.room()
        if seq := self.box.take():
            assert room
            self._send(seq, lost=lost)

    @rule()
    def acknowledge(self) -> None:
        seq = self.box.acked
        while seq + 1 in self.has:
            seq += 1
        before = self.box.acked
        assert list(self.box.ack(seq)) == list(range(before + 1, seq + 1))
        assert self.box.acked == seq

    @rule()
    def name_what_is_beyond_a_gap(self) -> None:
        self.box.name(joined((seq, seq) for seq in self.has if seq > self.box.acked + 1))

    @rule()
    def late_or_absurd_acknowledgement(self) -> None:
        assert self.box.ack(self.box.acked) == array("q")
        assert self.box.ack(self.box.issued + 1) == array("q")

    @precondition(lambda self: self.box.in_flight)
    @rule()
    def lose_connection(self) -> None:
        self.box.rewind()
        self.sent.clear()

    @invariant()
    def bounded(self) -> None:
        assert len(self.box.stamps) == self.box.issued - self.box.acked
        assert self.box.ahead <= self.box.named <= self.box.ahead_end <= self.box.named + AHEAD
        assert self.has.issuperset(range(self.box.ahead, self.box.named)), "only what the hub named is taken for named"
        assert self.box.in_flight <= self.box.issued - self.box.acked

    def teardown(self) -> None:
        """Whatever happened, on a line that works everything arrives."""
        self.box.rewind()
        self.sent.clear()
        while self.box.acked < self.box.issued:
            before = self.box.acked
            while seq := self.box.take():
                self._send(seq, lost=False)
            self.acknowledge()
            assert self.box.acked > before, "stuck"


TestOutbox = OutboxMachine.TestCase


def test_outbox_sends_ahead_for_as_long_as_the_hub_names_what_it_has() -> None:
    box = Outbox(window=4, stamps=range(1, 10_001))
    ahead = 0
    for turn in range(3 * AHEAD):
        box.add(10_001 + turn)
        ahead += bool(box.take_ahead())
        if turn < 2 * AHEAD:
            box.name([(10_001, box.issued)])
    assert ahead == 3 * AHEAD
    box.add(20_000)
    assert not box.take_ahead()


# --- the pace of a backlog


def test_pace_of_a_quick_way_grows_to_its_ceiling_and_a_slow_one_halves_it() -> None:
    pace, now = Pace(300.0), 0.0
    pace.begin(now)
    sent = 0
    for _ in range(200):
        now += 0.05
        allowed = pace.allowed(now)
        pace.spend(allowed)
        sent += allowed
        pace.acknowledged(0.06, now)
    assert pace.rate == 300.0
    assert START * now < sent < 300.0 * now
    pace.acknowledged(0.2, now + 0.1)
    assert pace.rate == 300.0, "one late acknowledgement says nothing"
    pace.acknowledged(0.2, now + 0.2)
    assert pace.rate == 150.0
    pace.acknowledged(0.2, now + 0.3)
    assert pace.rate == 150.0, "what a cut has done shows only after a while"


STEPS = st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(0.0, 5.0)), max_size=100)


@given(steps=STEPS, ceiling=st.floats(0.5, 5000))
def test_pace_of_any_way_stays_between_floor_and_ceiling(steps: list[tuple[float, float]], ceiling: float) -> None:
    pace, now = Pace(ceiling), 0.0
    for pause, delay in steps:
        now += pause
        pace.acknowledged(delay, now)
        assert min(FLOOR, ceiling) <= pace.rate <= ceiling


# --- statistics


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300))
def test_percentiles_of_anything_are_the_nearest_ranks(durations: list[int]) -> None:
    found = percentiles(durations)
    assert found is not None
    ordered = sorted(durations)
    for share, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        nearest = next(one for i, one in enumerate(ordered, 1) if i * 100 >= share * len(ordered))
        assert value == pytest.approx(nearest / 1e3, abs=0.006)
    assert found.max == pytest.approx(max(durations) / 1e3, abs=0.006)


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles(Durations().thinned()) is None


@given(parts=st.lists(st.integers(0, 400), max_size=40), limit=st.integers(10, 200))
def test_durations_of_a_long_run_keep_count_maximum_and_shape_in_bounded_memory(parts: list[int], limit: int) -> None:
    kept, number = Durations(limit), 0
    for part in parts:
        kept.add(list(range(number, number + part)))
        number += part
    thinned = kept.thinned(limit)
    assert kept.count == number
    assert len(thinned) <= 2 * limit + 400
    if number:
        assert thinned[-1] == kept.max == number - 1
        assert statistics.fmean(thinned) == pytest.approx(number / 2, rel=0.25, abs=40)


# --- plans


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan(robots=0), "--robots: 0 is not between 1 and 100000"),
        (Plan(rate=float("nan")), "--rate: nan is not more than 0 and at most 10000 messages per second"),
        (Plan(qos=2), "--qos: 2 is not between 0 and 1"),
        (Plan(seconds=float("inf")), "--seconds: inf is not between 0.5 and 86400"),
        (Plan(channels=1000, sets=9), ("--sets-per-message: 9 does not fit, expected with 1000 channels at most 8, "
         "since a message has a largest size")),
        (Plan(robots=2, generators=3), "--generators: 3 does not fit, expected at most as many as robots, 2"),
        (Plan(robots=2, connections=3), "--connections: 3 does not fit, expected 1 (--generators) to 2 (--robots)"),
        (Plan(window=0), "--window: 0 is not between 1 and 1000, the gaps that a hub remembers"),
        (Plan(speed="max", outage=1.0), ("--outage: 1 does not fit, expected none with --speed max, which has no live "
         "data to come back to")),
        (Plan(prefix="a b"), "--prefix: 'a b' does not fit, expected 1 to 48 of A-Z, a-z, 0-9, _ and -"),
        (Plan(store="oracle://x"), ("--store: 'oracle://x' does not fit, expected an address that begins with "
         "sqlite:// or postgresql://")),
        (Plan(broker="mqtt://h:port"), ("--broker: 'mqtt://h:port' does not fit, expected an address that begins with "
         "mqtt:// or mqtts://")),
        (Plan(url="http://h"), ("--broker: is missing, the robots of a hub that runs already need its broker's "
         "address, too")),
    ],
)  # fmt: skip
def test_plan_that_makes_no_sense_gets_one_sentence(plan: Plan, sentence: str) -> None:
    with pytest.raises(PlanError) as refused:
        check(plan)
    assert str(refused.value) == sentence


def test_plan_counts_samples_as_messages_without_states() -> None:
    plan = Plan(rate=10.0, state_every=0.5, sets=3)
    assert plan.every == 5
    assert [plan.samples(messages) for messages in (0, 4, 5, 9, 10)] == [0, 12, 12, 24, 24]


# --- usage


def test_usage_of_this_process_grows_with_work() -> None:
    before = usage.usage(os.getpid())
    deadline = os.times().user + 0.1
    while os.times().user < deadline:
        pass
    after = usage.usage(os.getpid())
    assert before is not None
    assert after is not None
    assert after.cpu_s >= before.cpu_s + 0.08
    assert after.rss_mib >= after.uss_mib > 1
    assert os.getpid() in usage.family(os.getppid())


def test_usage_of_no_process_is_none() -> None:
    assert usage.usage(2**30) is None
