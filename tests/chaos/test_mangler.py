import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.chaos.mangler import MAX_HELD, NONE, PASSES, SECONDS, Mangler, Mangling
from tests.chaos.packets import DISCONNECT, PUBACK, PUBLISH, Publish, acknowledged_by, kind_of, read_publish

PING = b"\xc0\x00"
GOODBYE = bytes([DISCONNECT << 4, 0])


def puback(identifier: int) -> bytes:
    return bytes([PUBACK << 4, 2]) + identifier.to_bytes(2, "big")


class Connection(RuleBasedStateMachine):
    """One side sends messages, the other confirms whatever reaches it, and the network does its worst between them."""

    @initialize(seed=st.integers(0, 1000), duplicate=st.floats(0, 1), reorder=st.floats(0, 1))
    def begin(self, seed: int, duplicate: float, reorder: float) -> None:
        rng = random.Random(seed)
        there: Counter[int] = Counter()
        back: Counter[int] = Counter()
        self.up, self.down = Mangler(rng, there, back), Mangler(rng, back, there)
        self.mangling = Mangling(duplicate, reorder)
        self.now = 0.0
        self.sent: list[Publish] = []
        self.arrived: list[Publish] = []
        self.confirmed: list[int] = []
        self.others: list[bytes] = []

    def reach(self, packets: list[bytes]) -> None:
        for packet in packets:
            if kind_of(packet) != PUBLISH:
                self.others.append(packet)
                continue
            message = read_publish(packet)
            self.arrived.append(message)
            if message.qos:
                back = self.down.feed(puback(message.identifier), self.mangling, self.now)
                self.confirmed += [acknowledged_by(one) for one in back]

    @rule(qos=st.sampled_from([0, 1]))
    def send(self, qos: int) -> None:
        number = len(self.sent) + 1
        message = Publish("t", str(number).encode(), qos, number if qos else 0)
        self.sent.append(message)
        self.reach(self.up.feed(message.encode(), self.mangling, self.now))

    @rule()
    def ping(self) -> None:
        before = len(self.others)
        self.reach(self.up.feed(PING, self.mangling, self.now))
        assert self.others[before:] == [PING]

    @rule(seconds=st.floats(0, 1))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.reach(self.up.tick(self.now))

    @rule()
    def calm(self) -> None:
        self.now += SECONDS[1] + 0.001
        self.reach(self.up.tick(self.now))
        self.complete()

    @rule()
    def goodbye(self) -> None:
        packets = self.up.feed(GOODBYE, self.mangling, self.now)
        assert packets[-1] == GOODBYE
        self.reach(packets[:-1])
        self.complete()

    def complete(self) -> None:
        """Nothing is held back any more: all came, and whoever sent at QoS 1 heard of it once."""
        assert {message.payload for message in self.arrived} == {message.payload for message in self.sent}
        assert sorted(self.confirmed) == [message.identifier for message in self.sent if message.qos]

    @invariant()
    def nothing_is_invented(self) -> None:
        if hasattr(self, "sent"):
            known = {message.payload: message for message in self.sent}
            times = Counter(message.payload for message in self.arrived)
            assert all(count <= 2 for count in times.values())
            assert all(message.qos <= known[message.payload].qos for message in self.arrived)


TestConnection = Connection.TestCase
TestConnection.settings = settings(max_examples=40, stateful_step_count=40)


@given(st.lists(st.integers(0, 1), max_size=50))
def test_mangler_told_to_do_nothing_passes_everything_on_at_once(qualities: list[int]) -> None:
    mangler = Mangler(random.Random(1), Counter(), Counter())
    for number, qos in enumerate(qualities, 1):
        packet = Publish("t", b"x", qos, number if qos else 0).encode()
        assert mangler.feed(packet, NONE, 0.0) == [packet]


def test_mangler_told_to_reorder_messages_overtake_each_other_but_not_by_more_than_it_says() -> None:
    mangler = Mangler(random.Random(1), Counter(), Counter())
    arrived: list[int] = []
    for number in range(500):
        packet = Publish("t", str(number).encode()).encode()
        arrived += [int(read_publish(one).payload) for one in mangler.feed(packet, Mangling(0.0, 0.5), 0.0)]
    assert arrived != sorted(arrived)
    assert max(place - number for place, number in enumerate(arrived)) <= PASSES[1] + 1


def test_mangler_told_to_double_everything_each_message_comes_twice() -> None:
    mangler = Mangler(random.Random(1), Counter(), Counter())
    arrived: list[bytes] = []
    for number in range(100):
        arrived += mangler.feed(Publish("t", str(number).encode(), 1, number + 1).encode(), Mangling(1.0, 0.0), 0.0)
    arrived += mangler.flush()
    messages = [read_publish(packet) for packet in arrived]
    assert set(Counter(message.payload for message in messages).values()) == {2}
    copies = Counter((message.qos, message.dup) for message in messages)
    assert copies[1, False] == 100
    assert copies[1, True] > 20
    assert copies[0, False] > 20


def test_mangler_holds_back_so_much_the_rest_passes() -> None:
    mangler = Mangler(random.Random(1), Counter(), Counter())
    stuck = Mangling(0.0, 1.0)
    passed = 0
    for _ in range(3 * MAX_HELD):
        passed += len(mangler.feed(Publish("t", b"x").encode(), stuck, 0.0))
    assert passed >= 2 * MAX_HELD
