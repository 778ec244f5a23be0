"""The express line: telemetry of a robot whose last message was in order, too, and heartbeats of one that is known to
be there, without the questions already answered.

Nearly all messages of a fleet are of that kind. Anything about a message that is not as it was (another connection, an
unknown channel, a time that may be absurd, a value of another type) leaves it to `Ingest.receive`, which decides; here
nothing is ever refused. `benchmarks/ingest.py` shows what it saves.
"""

from collections import Counter
from collections.abc import Callable

from botyard.core.actor import robot_actor
from botyard.core.bus import Bus
from botyard.core.events import SamplesReceived
from botyard.fleet.admission import Admission, Admitted
from botyard.fleet.fleet import Fleet
from botyard.fleet.presence import DEFAULT_INTERVAL, Standing
from botyard.fleet.record import RobotRecord
from botyard.ingest.batch import OpenBatch
from botyard.ingest.committer import Committer
from botyard.ingest.times import TimeCheck
from botyard.ingest.tracker import EpochTracker, Seen, Tracker
from botyard.plugin.api import Inbound
from botyard.store.hot import shard_of
from botyard_schemas import Envelope, Telemetry, topics
from botyard_schemas.clock import Clock
from botyard_schemas.fast import Vocabulary, decode_heartbeat, decode_telemetry

MAX_LANES = 50_000
# The fleet hears of a robot's signs of life at most this often (seconds), and of so many robots' in a second.
SEEN_EVERY = 1.0
SEEN_PER_SECOND = 200
_PRESENCE = "/presence"
_ACCEPTED = Admission.ACCEPTED, ""


class Lane:
    """What is known of the robot that publishes on a topic."""

    __slots__ = (
        "admitted", "decisions", "epoch", "key", "next_sign", "peer", "record", "robot", "shard", "tracker", "transport"
    )  # fmt: skip

    def __init__(self, robot: str, epoch: str, admitted: Admitted, record: RobotRecord, tracker: EpochTracker) -> None:
        self.robot = robot
        self.epoch = epoch
        self.key = robot, epoch
        self.admitted = admitted
        self.transport, self.peer = admitted.transport, admitted.peer
        self.decisions = -1
        self.record = record
        self.tracker = tracker
        self.shard = shard_of(robot)
        self.next_sign = 0.0


class Express:
    """Takes what it can. `begin` is called before and `settle` after each group of messages."""

    def __init__(
        self,
        times: TimeCheck,
        fleet: Fleet,
        bus: Bus,
        clock: Clock,
        tracker: Tracker,
        committer: Committer,
        counters: Counter[str],
        say_given_up: Callable[[str, str], None],
        in_order: Callable[[str], None],
    ) -> None:
        self._say_given_up = say_given_up
        self._in_order = in_order
        self._times = times
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._tracker = tracker
        self._committer = committer
        self._counters = counters
        self._vocabulary = Vocabulary()
        self._lanes: dict[str, Lane] = {}
        self._accepted = self._duplicate = self._out_of_order = self._samples = 0
        self._now = 0.0
        self._listened = False
        self._batch: OpenBatch
        self._received = -1
        self._window = 0, 0

    def learn(self, message: Inbound, envelope: Envelope, body: Telemetry) -> None:
        """`receive` has taken this message in: the next one like it may come here."""
        self._vocabulary.learn(body)
        robot = envelope.robot
        admitted, record = self._fleet.admitted(robot), self._fleet.get(robot)
        tracker = self._tracker.use(robot, envelope.epoch)
        if admitted is None or record is None or tracker is None or admitted.decision[0] is not Admission.ACCEPTED:
            return
        if len(self._lanes) >= MAX_LANES:
            self._lanes.clear()
        self._lanes[message.topic] = Lane(robot, envelope.epoch, admitted, record, tracker)

    def begin(self) -> None:
        """Look at what is the same for a group of messages, which are taken without a pause."""
        self._now = self._clock.monotonic()
        self._listened = self._bus.listened(SamplesReceived)
        self._batch = self._committer.batch

    def take(self, message: Inbound) -> bool:
        """Take a message in; False when it is not for this line, and then nothing was changed."""
        lane = self._lanes.get(message.topic)
        if lane is None or message.retained:
            return message.topic.endswith(_PRESENCE) and self._beat(message)
        if lane.transport != message.transport or lane.peer != message.peer:
            return False
        if lane.decisions != self._fleet.decisions:
            if self._fleet.admitted(lane.robot) is not lane.admitted:
                return False
            lane.decisions = self._fleet.decisions
        if self._tracker.use(*lane.key) is not lane.tracker:
            return False
        found = decode_telemetry(message.payload)
        if found is None or found.robot != lane.robot or found.epoch != lane.epoch:
            return False
        if message.received != self._received:
            self._received, self._window = message.received, self._times.window(message.received)
        lowest, highest = self._window
        ts = found.ts
        if not lowest <= ts <= highest:
            return False
        body = found.body
        samples = self._vocabulary.sound(body, lowest - ts, highest - ts, message.payload)
        if samples < 0:
            return False
        batch, tracker = self._batch, lane.tracker
        batch.touch(lane.key, message.transport)
        seen = tracker.offer(found.seq)
        if tracker.given_up:
            self._say_given_up(*lane.key)
        if seen is not Seen.NEW:
            if seen is Seen.DUPLICATE:
                self._duplicate += 1
                return True
            self._out_of_order += 1
        batch.keep(lane.shard, message.payload, ts, body, samples)
        self._samples += samples
        self._accepted += 1
        record, now = lane.record, self._now
        if now >= lane.next_sign or record.presence.standing is not Standing.ONLINE:
            self._observe(lane, message)
        else:
            record.last_seen, record.presence.heard = message.received, now
        if self._listened:
            robot = lane.robot
            self._bus.publish(SamplesReceived(actor=robot_actor(robot), robot=robot, ts=ts, body=body))
        return True

    def _beat(self, message: Inbound) -> bool:
        """A heartbeat that tells no more than that the robot is still there."""
        beat = None if message.retained else decode_heartbeat(message.payload)
        if beat is None or message.topic != topics.presence(beat.robot):
            return False
        admitted, record = self._fleet.admitted(beat.robot), self._fleet.get(beat.robot)
        if admitted is None or record is None:
            return False
        session, interval = beat.body.session, beat.body.interval or DEFAULT_INTERVAL
        if admitted != (message.transport, message.peer, None, session, _ACCEPTED):
            return False
        presence = record.presence
        if (presence.standing, presence.session, presence.interval) != (Standing.ONLINE, session, interval):
            return False
        self._fleet.sign_of_life(beat.robot, message)
        self._accepted += 1
        return True

    def settle(self) -> None:
        """Count what was taken, and let it be committed."""
        counters = self._counters
        counters["accepted"] += self._accepted
        counters["samples"] += self._samples
        if self._duplicate:
            counters["duplicate"] += self._duplicate
        if self._out_of_order:
            counters["out_of_order"] += self._out_of_order
        self._accepted = self._duplicate = self._out_of_order = self._samples = 0
        self._committer.wake()

    def _observe(self, lane: Lane, message: Inbound) -> None:
        """Let the fleet hear of it."""
        lane.next_sign = self._now + max(SEEN_EVERY, len(self._lanes) / SEEN_PER_SECOND)
        self._fleet.sign_of_life(lane.robot, message)
        self._in_order(lane.robot)
