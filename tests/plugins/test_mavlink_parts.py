"""The parts of the driver `mavlink` that need no vehicle: frames, axes, modes, addresses, texts."""

import itertools
import json
import math
import subprocess
import sys
from typing import Any

import pymavlink.dialects.v20.ardupilotmega as mavlink
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_edge.driver import Geo
from botyard_edge.testing import VirtualClock
from botyard_plugins.mavlink import geometry
from botyard_plugins.mavlink.address import parse
from botyard_plugins.mavlink.framing import MAX_FRAME, Framer
from botyard_plugins.mavlink.modes import kind_of, modes_of
from botyard_plugins.mavlink.texts import Texts

# --- frames


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A message as an autopilot packs it, MAVLink 1 or 2."""
    sender = mavlink.MAVLink(None, draw(st.integers(1, 255)), 1)
    sender.seq = draw(st.integers(0, 255))
    small = st.integers(0, 255)
    message: Any = draw(
        st.one_of(
            st.builds(mavlink.MAVLink_heartbeat_message, small, small, small, st.integers(0, 2**32 - 1), small, small),
            st.builds(mavlink.MAVLink_statustext_message, small, st.binary(max_size=50)),
            st.builds(mavlink.MAVLink_command_ack_message, st.integers(0, 65535), small),
        )
    )
    return bytes(message.pack(sender, force_mavlink1=draw(st.booleans())))


def fed(stream: bytes, cuts: list[int]) -> tuple[list[bytes], Framer]:
    framer = Framer(mavlink)
    edges = [0, *sorted(cuts), len(stream)]
    found = [bytes(one.get_msgbuf()) for a, b in itertools.pairwise(edges) for one in framer.feed(stream[a:b])]
    return found, framer


@given(st.lists(frames(), max_size=8), st.data())
def test_framer_finds_the_same_messages_however_the_bytes_are_cut(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    found, framer = fed(stream, cuts)
    assert found == sent
    assert not framer._buffer


@given(st.lists(st.tuples(st.binary(max_size=30), frames()), min_size=1, max_size=6), st.data())
def test_framer_finds_every_message_among_noise(parts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    # Noise that ends like the beginning of a frame can hide what follows for as long as such a frame might be.
    stream = b"".join(noise + frame for noise, frame in parts) + bytes(MAX_FRAME)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    found, framer = fed(stream, cuts)
    assert [frame for frame in found if frame in [frame for _, frame in parts]] == [frame for _, frame in parts]
    assert len(framer._buffer) < MAX_FRAME


@settings(max_examples=300)
@given(frames(), frames(), st.data())
def test_framer_loses_only_the_message_that_is_damaged(one: bytes, other: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(one) - 1))
    damaged = bytearray(one)
    damaged[at] ^= data.draw(st.integers(1, 255))
    found, _ = fed(bytes(damaged) + other + bytes(MAX_FRAME), [])
    assert other in found


@pytest.mark.parametrize("payload", [b"\x01\x02\x03\x04\x05\x06\x07\x08", b"\xfd\xfe\xfd\xfe\xfd\x01\x00\xfe"])
def test_framer_passes_over_a_message_that_it_does_not_know_and_keeps_the_next(payload: bytes) -> None:
    sender = mavlink.MAVLink(None, 1, 1)
    known = bytes(mavlink.MAVLink_heartbeat_message(2, 12, 0, 0, 3, 3).pack(sender))
    unknown = bytes([0xFD, 8, 0, 0, 5, 1, 1, 0xF0, 0xFF, 0x7F]) + payload + b"\x01\x02"
    assert fed(known + unknown + known + bytes(MAX_FRAME), [])[0] == [known, known]


def test_framer_reads_a_signed_message() -> None:
    sender = mavlink.MAVLink(None, 1, 1)
    sender.signing.secret_key, sender.signing.sign_outgoing, sender.signing.timestamp = bytes(32), True, 1
    signed = bytes(mavlink.MAVLink_heartbeat_message(2, 12, 0, 0, 3, 3).pack(sender))
    assert fed(signed, [4, 20])[0] == [signed]


# --- axes

Matrix = list[list[float]]


def _product(*matrices: Matrix) -> Matrix:
    result = matrices[0]
    for other in matrices[1:]:
        result = [
            [sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*other, strict=True)]
            for row in result
        ]
    return result


def _rotation(roll: float, pitch: float, yaw: float) -> Matrix:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a), math.sin(a)) for a in (roll, pitch, yaw))
    about_x = [[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]]
    about_y = [[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]]
    about_z = [[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]]
    return _product(about_z, about_y, about_x)


NED_TO_ENU: Matrix = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]
FLU_TO_FRD: Matrix = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]

angle = st.floats(-math.pi, math.pi)


@given(angle, angle, angle)
def test_attitude_in_the_axes_of_rep_103_turns_the_body_as_the_one_of_aviation(r: float, p: float, y: float) -> None:
    expected = _product(NED_TO_ENU, _rotation(r, p, y), FLU_TO_FRD)
    found = _rotation(*geometry.attitude(r, p, y))
    for one, other in zip(itertools.chain(*found), itertools.chain(*expected), strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_attitude_of_a_vehicle_that_heads_north_and_climbs() -> None:
    found = geometry.attitude(0.0, math.radians(10), 0.0)
    assert found == pytest.approx((0.0, math.radians(-10), math.radians(90)))


@given(st.floats(-60, 60), st.floats(-180, 180), st.floats(-360, 360), st.floats(-500, 500), st.floats(-500, 500))
def test_origin_leads_from_the_plan_to_the_earth_and_back(
    lat: float, lon: float, bearing: float, x: float, y: float
) -> None:
    origin = geometry.Origin({"lat": lat, "lon": lon, "bearing": bearing}, "field")
    pose = origin.pose(origin.geo(x, y), 0.0, 3.0)
    assert (pose.x, pose.y, pose.z) == pytest.approx((x, y, 3.0), abs=0.01)


def test_distance_over_the_date_line_is_short() -> None:
    assert geometry.distance(Geo(0.0, 179.9999), Geo(0.0, -179.9999)) == pytest.approx(22.3, abs=0.1)


# --- modes


def test_modes_of_px4_are_those_of_pymavlink() -> None:
    code = (
        "import pymavlink.mavutil as m, json;"
        "told = {name: m.interpret_px4_mode(0, main << 16 | sub << 24) for name, (_, main, sub) in m.px4_map.items()};"
        "print(json.dumps(told))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    theirs = {name: told for name, told in json.loads(said).items() if told != "UNKNOWN"}
    modes = modes_of(mavlink, mavlink.MAV_AUTOPILOT_PX4, "multicopter")
    assert modes is not None
    gone = {"RATTITUDE", "RTGS"}  # from PX4 itself
    assert set(theirs.values()) - gone <= set(modes.numbers)


@pytest.mark.parametrize("mav_type", [1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22])
@pytest.mark.parametrize("autopilot", [mavlink.MAV_AUTOPILOT_PX4, mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA])
def test_modes_name_only_what_the_autopilot_has_and_are_numbered_back(mav_type: int, autopilot: int) -> None:
    modes = modes_of(mavlink, autopilot, kind_of(mav_type))
    assert modes is not None
    used = {modes.hold, modes.guided, modes.mission, *modes.own, *modes.landing, *modes.returning}
    assert (used | ({modes.land} if modes.land else set())) <= set(modes.numbers)
    assert {modes.hold, modes.guided, modes.mission, *modes.landing, *modes.returning} <= modes.own
    assert not used & modes.never
    for name, number in modes.numbers.items():
        assert modes.name(number) == name


def test_mode_that_is_not_known_is_told_by_its_number() -> None:
    modes = modes_of(mavlink, mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA, "multicopter")
    assert modes is not None
    assert modes.name(4711) == "mode 4711"


@pytest.mark.parametrize("mav_type", [6, 18, 26, 30])
def test_kind_of_what_is_no_vehicle_is_none(mav_type: int) -> None:
    assert kind_of(mav_type) is None


# --- addresses


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("udp:0.0.0.0:14550", ("udp", "0.0.0.0", 14550)),
        ("udp::14540", ("udp", "0.0.0.0", 14540)),
        ("udpin:127.0.0.1:1", ("udp", "127.0.0.1", 1)),
        ("udpout:drone.local:65535", ("udpout", "drone.local", 65535)),
        ("tcp://10.0.0.2:5760", ("tcp", "10.0.0.2", 5760)),
        ("tcp:[::1]:5760", ("tcp", "::1", 5760)),
        ("serial:/dev/ttyACM0:57600", ("serial", "/dev/ttyACM0", 57600)),
        ("serial:/dev/serial/by-id/usb-3D:4:921600", ("serial", "/dev/serial/by-id/usb-3D:4", 921600)),
    ],
)
def test_address_is_read(text: str, parts: tuple[str, str, int]) -> None:
    assert tuple(parse(text)) == parts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/dev/ttyACM0", "begins with none of udp:, udpout:, tcp:, serial:"),
        ("udp:14550x", "does not end with a port"),
        ("serial:/dev/ttyACM0", "does not end with bits per second"),
        ("udp:127.0.0.1:0", "ends with 0, expected 1 to 65535"),
        ("tcp:127.0.0.1:70000", "ends with 70000, expected 1 to 65535"),
        ("serial:/dev/ttyACM0:9", "ends with 9, expected 50 to 4000000"),
        ("tcp::5760", "does not name a host"),
        ("serial::57600", "does not name a device's file"),
    ],
)
def test_address_that_cannot_be_says_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        parse(text)
    assert str(error.value).startswith(f"{text!r} {says}")


@given(st.text(max_size=40))
def test_address_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        address = parse(text)
    except ValueError as error:
        said = str(error)
    else:
        said = f"{text!r} has the port {address.port}" if address.port else ""
    assert said.startswith(repr(text))


# --- texts


def text(data: bytes, number: int = 0, chunk: int = 0, severity: int = 4) -> Any:
    return mavlink.MAVLink_statustext_message(severity, data, number, chunk)


def test_text_of_which_a_chunk_was_lost_shows_the_gap() -> None:
    texts = Texts(VirtualClock())
    assert texts.take(text(b"a" * 50, 7, 0)) is None
    said = texts.take(text(b"the end", 7, 2))
    assert said is not None
    assert said.text == "a" * 50 + "…the end"


@given(
    st.lists(st.builds(text, st.binary(max_size=50), st.integers(0, 65535), st.integers(0, 255), st.integers(0, 255)))
)
def test_texts_of_any_vehicle_are_printable_and_few_are_kept(messages: list[Any]) -> None:
    texts = Texts(VirtualClock())
    for message in messages:
        said = texts.take(message)
        assert said is None or (said.text and said.text.isprintable())
    assert len(texts._parts) <= 9


# --- what it costs


def test_edge_that_does_not_use_the_driver_does_not_import_pymavlink() -> None:
    code = (
        "import sys; from botyard_edge.plugins import build_plugin_manager, drivers;"
        "assert 'mavlink' in drivers(build_plugin_manager());"
        "print([name for name in sys.modules if name.startswith(('pymavlink', 'serial.'))])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
