import asyncio
import functools
import itertools
import operator
import os
import sys
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from botyard_edge.config import load_config
from botyard_edge.driver import Command, CommandRejectedError, ConfigurationError, Driver, Geo, Motion
from botyard_edge.testing import VirtualClock
from botyard_plugins.serial.lines import MAX_LINE, Decoder, LineDecoder, Splitter, UnusableError
from botyard_plugins.serial.nmea import NmeaDecoder
from botyard_schemas.settings import SettingsError
from tests.plugins.conftest import Notes

Make = Callable[..., Driver]

TEMPERATURE = [{"pattern": r"^T=(\S+)$", "channels": [{"name": "temperature", "unit": "Cel"}]}]


class Plug:
    """A device on a pseudo-terminal, known by a name that stays when it is plugged in anew."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ttyTEST"
        self._ends: tuple[int, ...] = ()

    def plug_in(self) -> None:
        self._ends = os.openpty()
        tty.setraw(self._ends[1])
        os.set_blocking(self._ends[0], False)
        self.path.symlink_to(os.ttyname(self._ends[1]))

    def unplug(self) -> None:
        for end in self._ends:
            os.close(end)
        self._ends = ()
        self.path.unlink(missing_ok=True)

    def says(self, data: bytes) -> None:
        os.write(self._ends[0], data)

    def heard(self) -> bytes:
        try:
            return os.read(self._ends[0], 4096)
        except BlockingIOError:
            return b""


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    made = Plug(tmp_path)
    made.plug_in()
    yield made
    made.unplug()


class Running:
    def __init__(self, driver: Driver, clock: VirtualClock) -> None:
        self.driver = driver
        self.clock = clock
        self.notes = Notes(clock)

    def values(self, channel: str) -> list[Any]:
        return [value for _, value in self.notes.samples.get(channel, [])]

    def events(self) -> list[str]:
        return [event[0] for event in self.notes.events]

    async def until(self, condition: Callable[[], object], step: float = 0.0) -> None:
        """Wait for the terminal and the thread, which are real; `step` virtual seconds pass meanwhile, each time."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)
                await self.clock.advance(step)

    async def command(self, name: str, **args: Any) -> None:
        async def progress(done: float) -> None: ...

        await self.driver.execute(Command("c1", name, 0, args), progress)


@asynccontextmanager
async def running(make_driver: Make, **given: Any) -> AsyncIterator[Running]:
    clock = VirtualClock()
    async with make_driver("serial", clock, port="ttyTEST", **given) as driver:
        robot = Running(driver, clock)
        task = asyncio.create_task(driver.run(robot.notes))
        try:
            yield robot
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def connected(robot: Running) -> None:
    await robot.until(lambda: getattr(robot.driver, "_device", None))


def sentence(text: str) -> str:
    return f"${text}*{functools.reduce(operator.xor, text.encode()):02X}"


# --- lines


async def test_lines_become_samples_of_the_declared_channels(make_driver: Make, plug: Plug) -> None:
    async with running(make_driver, lines=TEMPERATURE) as robot:
        await connected(robot)
        plug.says(b"half a line\r\nT=41.5\r\nT=")
        plug.says(b"42\r\n")
        await robot.until(lambda: robot.values("temperature") == [41.5, 42.0])


async def test_first_line_after_connecting_is_not_used_since_it_may_have_lost_its_front(
    make_driver: Make, plug: Plug
) -> None:
    rules = [{"separator": ",", "channels": [{"name": "n"}]}]
    async with running(make_driver, lines=rules) as robot:
        await connected(robot)
        plug.says(b"23.5\n123.5\n")
        await robot.until(lambda: robot.values("n"))
        assert robot.values("n") == [123.5]


@pytest.mark.parametrize(
    ("rule", "line", "values"),
    [
        ({"separator": ",", "channels": [{"name": "a"}, None, {"name": "b"}]}, "1.5, x ,-2e3", {"a": 1.5, "b": -2000}),
        ({"separator": " ", "prefix": "IMU", "channels": [{"name": "a"}]}, "IMU   7", {"a": 7}),
        ({"separator": ";", "channels": [{"name": "a"}, {"name": "b"}]}, "1;", {"a": 1}),
        ({"pattern": r"v(\d+)?,(\w+)", "channels": [{"name": "a"}, {"name": "b", "type": "text"}]}, "v,x", {"b": "x"}),
        (
            {"separator": ",", "channels": [{"name": "a", "type": "integer", "scale": 10, "offset": 1}]},
            "007",
            {"a": 71},
        ),
        ({"separator": ",", "channels": [{"name": "a", "scale": 0.01, "offset": -40}]}, "6500", {"a": 25.0}),
        ({"separator": ",", "channels": [{"name": "a", "type": "boolean"}]}, "ON", {"a": True}),
    ],
)
def test_line_decoder_reads_what_the_rule_says(rule: dict[str, Any], line: str, values: dict[str, Any]) -> None:
    reading = LineDecoder([rule]).decode(line, 0.0)
    assert reading is not None
    assert reading.values == values


@pytest.mark.parametrize(
    ("kind", "text"), [("integer", "1.5"), ("integer", "9" * 20), ("number", "1_0"), ("boolean", "2"), ("number", "x")]
)
def test_line_decoder_refuses_a_value_of_another_type(kind: str, text: str) -> None:
    with pytest.raises(UnusableError, match="a value of another type"):
        LineDecoder([{"separator": ",", "channels": [{"name": "a", "type": kind}]}]).decode(text, 0.0)


@given(st.lists(st.binary(max_size=40).filter(lambda line: not set(line) & set(b"\r\n"))), st.data())
def test_splitter_gives_the_same_lines_however_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\r\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter = Splitter()
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert [line for piece in pieces for line in splitter.feed(piece)] == [line for line in lines if line]


@given(st.integers(1, 5000), st.integers(1, 700))
def test_splitter_says_once_that_a_line_is_too_long_and_holds_little(length: int, piece: int) -> None:
    splitter = Splitter()
    stream = b"x" * length + b"\nnext\n"
    found = [line for at in range(0, len(stream), piece) for line in splitter.feed(stream[at : at + piece])]
    assert found == [b"x" * length if length <= MAX_LINE else None, b"next"]


# --- going and coming


async def test_unplugged_device_is_said_once_and_used_again_when_it_is_back(make_driver: Make, plug: Plug) -> None:
    async with running(make_driver, lines=TEMPERATURE) as robot:
        await connected(robot)
        plug.unplug()
        await robot.until(lambda: robot.events() == ["serial.missing"])
        await robot.clock.advance(30)
        for _ in range(5):  # it is looked for all the while, without another word
            await asyncio.sleep(0.005)
            await robot.clock.advance(30)
        assert robot.events() == ["serial.missing"]
        assert robot.notes.state("health") == ["warning"]
        plug.plug_in()
        await robot.until(lambda: robot.events() == ["serial.missing", "serial.found"], step=1.0)
        plug.says(b"\nT=1\n")
        await robot.until(lambda: robot.values("temperature") == [1.0])
        assert robot.notes.state("health") == ["warning", "ok"]


async def test_device_that_is_not_there_at_the_start_is_said_in_one_sentence(make_driver: Make, tmp_path: Path) -> None:
    async with running(make_driver, lines=TEMPERATURE) as robot:
        await robot.until(lambda: robot.events())
        name, severity, message, _, _ = robot.notes.events[0]
        assert (name, severity) == ("serial.missing", "warning")
        assert message == f"{tmp_path}/ttyTEST: no serial device: No such file or directory; it is waited for"


async def test_device_that_another_program_has_open_is_said_so(make_driver: Make, plug: Plug) -> None:
    async with running(make_driver, lines=TEMPERATURE) as first:
        await connected(first)
        async with running(make_driver, lines=TEMPERATURE) as second:
            await second.until(lambda: second.events())
            assert "another program has it open" in (second.notes.events[0][2] or "")


async def test_missing_library_is_said_with_the_cure(make_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ConfigurationError, match=r"pyserial: pip install 'botyard\[serial\]'"):
        async with make_driver("serial", VirtualClock(), port="x", lines=TEMPERATURE):
            pass


# --- noise


async def test_noise_stops_nothing_and_is_said_in_one_sentence_at_intervals(make_driver: Make, plug: Plug) -> None:
    async with running(make_driver, lines=TEMPERATURE, ignore="^#") as robot:
        await connected(robot)
        plug.says(b"\n\xff\xfe\x00\n\x01\x02\nT=x\nhello\n# fine\nT=5\n")
        await robot.until(lambda: robot.values("temperature") == [5.0])
        await robot.clock.advance(5.0)
        assert robot.notes.events == [
            (
                "serial.noise",
                "warning",
                (
                    f"{plug.path}: 4 of 6 lines could not be used: 2 not text, 1 a value of another type, "
                    "1 not as any entry of lines; the last was 'hello'"
                ),
                None,
                {"lines": {"not text": 2, "a value of another type": 1, "not as any entry of lines": 1}},
            )
        ]
        plug.says(b"\xff\n" * 50 + b"T=6\n")
        await robot.until(lambda: robot.values("temperature") == [5.0, 6.0])
        await robot.clock.advance(59.0)
        assert len(robot.notes.events) == 1
        await robot.clock.advance(1.0)
        assert "50 of 51 lines could not be used: 50 not text" in (robot.notes.events[1][2] or "")
        assert "is the baud rate right?" in (robot.notes.events[1][2] or "")


@given(st.lists(st.binary(max_size=200), max_size=8))
@example([b"\n$GPGGA," + b"9" * 60 + b"*00\n"])
def test_no_bytes_make_a_decoder_raise_anything_but_unusable(chunks: list[bytes]) -> None:
    decoders: list[Decoder] = [NmeaDecoder("gps", "geo"), LineDecoder(TEMPERATURE)]
    splitter = Splitter()
    for chunk in chunks:
        for line in splitter.feed(chunk):
            for decoder in decoders:
                with suppress(UnusableError):
                    decoder.decode((line or b"").decode("latin-1"), 0.0)


# --- NMEA 0183


def decode(*sentences: str) -> dict[str, Any]:
    decoder = NmeaDecoder("gps", "geo")
    values: dict[str, Any] = {}
    for line in sentences:
        reading = decoder.decode(line, 0.0)
        values |= reading.values if reading else {}
    return values


def test_gga_gives_position_altitude_and_quality_of_the_fix() -> None:
    values = decode("$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47")
    geo = values.pop("geo")
    assert (geo.lat, geo.lon, geo.alt) == (pytest.approx(48.1173, abs=1e-9), pytest.approx(11.516666667), 545.4)
    assert values == {"gps.quality": 1, "gps.satellites": 8, "gps.hdop": 0.9}


def test_rmc_gives_speed_in_metres_per_second_and_course_in_degrees() -> None:
    values = decode("$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A")
    assert values["geo"] == Geo(48 + 7.038 / 60, 11 + 31.0 / 60)
    assert values["gps.speed"] == pytest.approx(22.4 * 1.852 / 3.6)
    assert values["gps.course"] == 84.4


def test_vtg_gives_speed_and_course_while_there_is_no_rmc() -> None:
    vtg = "$GPVTG,054.7,T,034.4,M,005.5,N,010.2,K*48"
    assert decode(vtg) == {"gps.speed": pytest.approx(10.2 / 3.6), "gps.course": 54.7}
    both = decode("$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A", vtg)
    assert both["gps.course"] == 84.4


def test_south_and_west_are_negative_and_any_talker_is_understood() -> None:
    geo = decode(sentence("GNGGA,1,3352.5,S,15112.75,W,4,12,0.6,,M,,M,,"))["geo"]
    assert (geo.lat, geo.lon, geo.alt) == (-33.875, pytest.approx(-151.2125), None)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("GPGGA,1,,,,,0,03,99.99,,M,,M,,", {"gps.quality": 0, "gps.satellites": 3}),
        ("GPGGA,1,4807.038,N,01131.000,E,0,00,,,M,,M,,", {"gps.quality": 0, "gps.satellites": 0}),
        ("GPRMC,1,V,4807.038,N,01131.000,E,022.4,084.4,230394,,", {}),
        ("GPRMC,1,A,4807.038,N,01131.000,E,022.4,084.4,230394,,,N", {}),
        ("GPVTG,,T,,M,0.0,N,0.0,K,N", {}),
        ("GPGSV,1,1,00", {}),
        ("PUBX,00,x", {}),
    ],
)
def test_receiver_without_a_fix_gives_no_position(text: str, values: dict[str, Any]) -> None:
    assert decode(sentence(text)) == values


def test_receiver_that_stands_gives_speed_without_course() -> None:
    assert decode(sentence("GPRMC,1,A,4807.038,N,01131.000,E,0.0,,230394,,,A"))["gps.speed"] == 0.0


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.5,M,46.9,M,,*47", "a wrong checksum"),
        ("$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,", "without a checksum"),
        ("GPGGA", "no NMEA sentence"),
        (sentence("GPGGA,1,4861.0,N,01131.000,E,1,08,0.9,545.4,M,,M,,"), "a broken sentence"),
        (sentence("GPGGA,1,9107.0,N,01131.000,E,1,08,0.9,545.4,M,,M,,"), "a broken sentence"),
        (sentence("GPGGA,1,4807.0,E,01131.000,E,1,08,0.9,545.4,M,,M,,"), "a broken sentence"),
        (sentence("GPGGA,1"), "a broken sentence"),
        (sentence("GPRMC,1,A,4807.0,N,01131.0,E,1e9,084.4,230394,,"), "a broken sentence"),
    ],
)
def test_sentence_that_is_damaged_is_refused(line: str, kind: str) -> None:
    with pytest.raises(UnusableError, match=kind):
        decode(line)


async def test_receiver_on_a_port_moves_the_robot_on_the_map(make_driver: Make, plug: Plug) -> None:
    async with running(make_driver, protocol="nmea", prefix="gps.front", geo="geo.front") as robot:
        await connected(robot)
        plug.says(b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n")
        await robot.until(lambda: robot.values("gps.front.quality") == [1])
        assert [geo.alt for geo in robot.values("geo.front")] == [545.4]
        assert robot.notes.state("geo") == robot.values("geo.front")
        declared = {channel.name for channel in robot.driver.capabilities.channels}
        assert set(robot.notes.samples) < declared


# --- commands


SPEED = {"speed": {"write": "V {left} {on}", "args": {"left": {"type": "number"}, "on": {"type": "boolean"}}}}


async def test_command_writes_its_line(make_driver: Make, plug: Plug) -> None:
    async with running(make_driver, lines=TEMPERATURE, commands=SPEED, line_end="\r\n", on_stop="V 0 0") as robot:
        await connected(robot)
        await robot.command("speed", left=0.5, on=True)
        assert plug.heard() == b"V 0.5 1\r\n"
        await robot.driver.stop()
        assert plug.heard() == b"V 0 0\r\n"


async def test_motion_of_a_command_is_what_the_settings_declare(make_driver: Make, plug: Plug) -> None:
    motion = {"kind": "velocity", "linear": ["left"], "lasting": True}
    commands = {"speed": {**SPEED["speed"], "motion": motion}, "beep": {"write": "B"}}
    async with running(make_driver, commands=commands) as robot:
        speed, beep = robot.driver.capabilities.commands
        assert speed.motion == Motion("velocity", linear=("left",), lasting=True)
        assert beep.motion is None, "nothing is known of it, so it may move anything"


async def test_command_with_a_line_break_in_an_argument_is_rejected(make_driver: Make, plug: Plug) -> None:
    commands = {"say": {"write": "SAY {text}", "args": {"text": {"type": "string"}}}}
    async with running(make_driver, commands=commands) as robot:
        await connected(robot)
        with pytest.raises(CommandRejectedError, match=r"args.text: .* control character"):
            await robot.command("say", text="hello\nV 9 9")
        assert plug.heard() == b""


async def test_command_to_a_device_that_is_away_is_rejected(make_driver: Make, tmp_path: Path) -> None:
    async with running(make_driver, commands=SPEED) as robot:
        await robot.until(lambda: robot.events())
        with pytest.raises(CommandRejectedError, match="ttyTEST is not connected"):
            await robot.command("speed", left=0.5, on=True)
        await robot.driver.stop()


# --- robot.yaml


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("{port: a}", "3: drivers.serial.options.lines: there are none"),
        ("{port: a, protocol: nmea, lines: [{separator: ',', channels: [null]}]}", "lines: has no meaning with"),
        ("{port: a, lines: [{pattern: '(', channels: [null]}]}", "lines[0].pattern: '(' is no regular expression"),
        ("{port: a, lines: [{channels: [null]}]}", "lines[0]: expected either pattern or separator"),
        ("{port: a, lines: [{pattern: 'x', channels: [null]}]}", "there are 1, and the pattern has 0 groups"),
        (
            "{port: a, commands: {v: {write: '{x}', args: {x: {type: string}}, motion: {kind: goal, linear: [x]}}}}",
            "commands.v.motion.linear[0]: 'x' is no argument that is a number",
        ),
        ("{port: a, commands: {v: {write: V}}, dock: home}", "options.dock: 'home' is none of the commands without"),
        (
            "{port: a, lines: [{separator: x, channels: [{name: a}, {name: a}]}]}",
            "lines[0].channels[1].name: 'a' stands",
        ),
        ("{port: a, commands: {go: {write: 'G {x}'}}}", "commands.go.write: {x} is no argument"),
        ("{port: a, commands: {go: {write: 'G', args: {x: {type: number}}}}}", "commands.go.args.x: is not used"),
        ("{port: a, baud: fast, protocol: nmea}", "drivers.serial.options.baud"),
        ("{port: a, ignore: '(', protocol: nmea}", "options.ignore: '(' is no regular expression"),
    ],
)
def test_options_that_cannot_work_are_said_with_file_line_and_key(tmp_path: Path, options: str, problem: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(f"robot: r1\ndrivers:\n  serial: {{options: {options}}}\n")
    with pytest.raises(SettingsError) as caught:
        load_config(path, {})
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}:3: ")


def test_two_drivers_for_one_channel_are_said_in_one_sentence_with_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(
        "robot: r1\n"
        "drivers:\n"
        "  front: {type: serial, options: {port: a, protocol: nmea}}\n"
        "  rear:\n"
        "    type: serial\n"
        "    options:\n"
        "      port: b\n"
        "      lines:\n"
        "        - separator: ','\n"
        "          channels:\n"
        "            - name: gps.hdop\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_config(path, {})
    assert str(caught.value) == (
        f"{path}:11: drivers.rear.options.lines[0].channels[0].name: channel 'gps.hdop' is published by "
        "drivers.front.options.prefix already; give one another name"
    )
