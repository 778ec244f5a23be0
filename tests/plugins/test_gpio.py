import asyncio
import random
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPin, MockPWMPin, MockTriggerPin

from botyard_edge.config import load_config
from botyard_edge.driver import Command, CommandRejectedError, ConfigurationError, Driver, DriverContext
from botyard_edge.safety import ClearRefusedError
from botyard_edge.testing import VirtualClock, settle
from botyard_plugins.gpio.devices import SPEED_OF_SOUND
from botyard_schemas import Report
from botyard_schemas.settings import SettingsError
from tests.plugins.conftest import ROOT, Notes, Robot

HARDWARE = ROOT / "docs" / "robots" / "hardware.md"

Make = Callable[..., Driver]


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    """gpiozero's own pins without hardware."""
    Device.pin_factory = MockFactory(pin_class=MockPWMPin)
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = None


class Running:
    def __init__(self, driver: Driver, clock: VirtualClock) -> None:
        self.driver = driver
        self.clock = clock
        self.notes = Notes(clock)

    def values(self, channel: str) -> list[Any]:
        return [value for _, value in self.notes.samples.get(channel, [])]

    def events(self) -> list[tuple[str, str]]:
        return [(event[0], event[1]) for event in self.notes.events]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for the thread that measures, which is real."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)
                await settle()

    async def command(self, name: str, value: Any) -> None:
        async def progress(done: float) -> None: ...

        await self.driver.execute(Command("c1", name, 0, {"value": value}), progress)


@asynccontextmanager
async def running(make_driver: Make, **devices: Any) -> AsyncIterator[Running]:
    clock = VirtualClock()
    named = {name.replace("_", "."): part for name, part in devices.items()}
    async with make_driver("gpio", clock, devices=named) as driver:
        robot = Running(driver, clock)
        task = asyncio.create_task(driver.run(robot.notes))
        await settle()
        try:
            yield robot
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


WHEEL = {"kind": "motor", "forward": 5, "backward": 6, "timeout": 0.5}
ESTOP = {"kind": "estop", "pin": 4}


async def test_switches_are_told_at_each_change_and_periodically(make_driver: Make, pins: MockFactory) -> None:
    door, lid = {"kind": "input", "pin": 17}, {"kind": "input", "pin": 18, "pull": "down"}
    async with running(make_driver, door=door, lid=lid) as robot:
        assert (robot.values("door"), robot.values("lid")) == ([False], [False])
        pins.pin(17).drive_low()
        pins.pin(18).drive_high()
        await settle()
        assert (robot.values("door"), robot.values("lid")) == ([False, True], [False, True])
        await robot.clock.advance(3)
        assert robot.values("door") == [False, True, True, True, True]


async def test_bumper_is_an_event_when_it_is_hit(make_driver: Make, pins: MockFactory) -> None:
    async with running(make_driver, bumper_front={"kind": "bumper", "pin": 22}) as robot:
        pins.pin(22).drive_low()
        pins.pin(22).drive_high()
        await settle()
        assert robot.values("bumper.front") == [False, True, False]
        assert robot.events() == [("bumper.hit", "warning")]


async def test_emergency_stop_stops_the_motors_before_the_event_loop_knows(
    make_driver: Make, pins: MockFactory
) -> None:
    async with running(make_driver, estop=ESTOP, wheel=WHEEL) as robot:
        pins.pin(4).drive_low()  # the closed contact: until then, a mock pin is pulled up
        await settle()
        robot.notes.events.clear()
        robot.notes.samples.clear()
        await robot.command("wheel", 0.6)
        assert pins.pin(5).state == pytest.approx(0.6)
        pins.pin(4).drive_high()
        assert pins.pin(5).state == 0, "no turn of the loop was needed"
        with pytest.raises(CommandRejectedError, match="the emergency stop is pressed: estop"):
            await robot.command("wheel", 0.1)
        await settle()
        assert robot.notes.events[0][:3] == ("estop.input", "critical", "emergency stop estop: pressed")
        assert robot.notes.events[0][4] == {"input": "estop", "active": True}
        pins.pin(4).drive_low()
        await settle()
        assert robot.events() == [("estop.input", "critical"), ("estop.input", "info")]
        assert robot.values("estop.input") == [True, False]
        assert pins.pin(5).state == 0, "nothing moves by itself"
        await robot.command("wheel", 0.1)


async def test_emergency_stop_whose_wire_is_broken_counts_as_pressed_from_the_start(
    make_driver: Make, pins: MockFactory
) -> None:
    async with running(make_driver, estop=ESTOP, wheel=WHEEL) as robot:  # nothing pulls the pin low
        assert True in robot.values("estop.input")
        assert robot.events() == [("estop.input", "critical")]
        with pytest.raises(CommandRejectedError, match="pressed"):
            await robot.command("wheel", 0.1)
        await robot.command("wheel", 0)


async def test_motor_turns_both_ways_and_stops_when_no_command_comes(make_driver: Make, pins: MockFactory) -> None:
    async with running(make_driver, wheel=WHEEL) as robot:
        await robot.command("wheel", -0.5)
        assert (pins.pin(5).state, pins.pin(6).state) == (0, 0.5)
        await robot.clock.advance(0.4)
        await robot.command("wheel", 1)
        await robot.clock.advance(0.4)
        assert (pins.pin(5).state, pins.pin(6).state) == (1, 0)
        await robot.clock.advance(0.2)
        assert pins.pin(5).state == 0
        assert robot.events() == [("motor.timeout", "warning")]
        await robot.command("wheel", 1)
        await robot.driver.stop()
        assert pins.pin(5).state == 0


async def test_output_is_switched_and_told(make_driver: Make, pins: MockFactory) -> None:
    async with running(make_driver, horn={"kind": "output", "pin": 23, "active_high": False}) as robot:
        assert pins.pin(23).state == 1
        await robot.command("horn", True)
        assert pins.pin(23).state == 0
        await robot.clock.advance(1)
        assert robot.values("horn") == [False, True]


async def test_ultrasonic_distance_is_half_the_way_of_the_echo(make_driver: Make, pins: MockFactory) -> None:
    pins.pin_class = MockPin  # a trigger has no pulses of its own
    echo = pins.pin(25)
    pins.pin(24, pin_class=MockTriggerPin, echo_pin=echo, echo_time=0.01)
    async with running(make_driver, range={"kind": "distance", "trigger": 24, "echo": 25}) as robot:
        await robot.until(lambda: robot.values("range"))
        # The mock pin sleeps for the echo, on a machine that may be busy: never less, and perhaps more.
        measured = robot.values("range")[0]
        assert measured is None or measured >= 0.0099 * SPEED_OF_SOUND / 2


async def test_ultrasonic_sensor_without_an_echo_gives_no_sample(make_driver: Make, pins: MockFactory) -> None:
    async with running(make_driver, range={"kind": "distance", "trigger": 24, "echo": 25}) as robot:
        await robot.until(lambda: robot.values("range"))
        assert robot.values("range") == [None]


async def test_machine_without_pins_is_said_with_the_cure(make_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "lgpio")
    monkeypatch.setitem(sys.modules, "lgpio", None)
    with pytest.raises(ConfigurationError, match=r"there are no GPIO pins that can be used.*lgpio"):
        async with make_driver("gpio", VirtualClock(), devices={"estop": ESTOP}):
            pass


async def test_missing_library_is_said_with_the_cure(make_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(ConfigurationError, match=r"gpiozero: pip install 'botyard\[gpio\]'"):
        async with make_driver("gpio", VirtualClock(), devices={"estop": ESTOP}):
            pass


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", HARDWARE.read_text(), re.DOTALL))
def test_examples_of_the_hardware_page_are_valid(tmp_path: Path, example: str) -> None:
    (tmp_path / "robot.yaml").write_text(example)
    config = load_config(tmp_path / "robot.yaml", {})
    for settings in config.drivers:
        context = DriverContext("r1", settings.name, settings.options, tmp_path, VirtualClock(), random.Random(1))
        declared = {channel.name for channel in settings.spec.factory(context).capabilities.channels}
        assert declared == {name for _, name in settings.spec.channels(settings.options)}


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("{kind: motor, forward: 5}", "devices.a: a motor needs backward"),
        ("{kind: bumper, pin: 5, timeout: 1}", "devices.a.timeout: has no meaning for a bumper"),
        ("{kind: bumper, pin: 5}, b: {kind: estop, pin: 5}", "devices.b.pin: GPIO 5 is used by a.pin already"),
        ("{kind: bumper, pin: 40}", "devices.a.pin"),
    ],
)
def test_options_that_cannot_work_are_said_with_file_line_and_key(tmp_path: Path, device: str, problem: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(f"robot: r1\ndrivers:\n  gpio:\n    options:\n      devices: {{a: {device}}}\n")
    with pytest.raises(SettingsError) as caught:
        load_config(path, {})
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}:5: ")


async def test_emergency_stop_input_latches_the_whole_robot_until_it_is_cleared_there(
    pins: MockFactory, modelled: Callable[..., Robot]
) -> None:
    whole = modelled("gpio", {"devices": {"estop": ESTOP, "wheel": {**WHEEL, "timeout": 60}}})
    task = asyncio.create_task(whole.runtime.run())
    await whole.clock.advance(0.1)
    safety = whole.runtime.safety

    async def send(number: int, value: float) -> Report:
        command = Command(f"c{number}", "wheel", whole.clock.now() + 60_000_000, {"value": value})
        whole.hub.command("r1", command)
        await whole.clock.advance(0.1)
        return [report for report in whole.hub.bodies("r1", Report) if report.command == command.id][-1]

    try:
        assert safety.mode == "estop", "the contact is open from the start"
        pins.pin(4).drive_low()
        await settle()
        safety.clear("Kim")
        assert (await send(1, 0.6)).status == "succeeded"
        pins.pin(4).drive_high()
        await settle()
        assert pins.pin(5).state == 0
        assert safety.reason == "gpio/estop is pressed"
        with pytest.raises(ClearRefusedError):
            safety.clear("Kim")
        pins.pin(4).drive_low()
        await settle()
        assert (await send(2, 0.6)).reason == "the robot is in estop mode: gpio/estop is pressed"
        assert pins.pin(5).state == 0
        safety.clear("Kim")
        assert (await send(3, 0.6)).status == "succeeded"
        assert pins.pin(5).state == pytest.approx(0.6)
        whole.runtime.safety.halt()
        assert pins.pin(5).state == 0, "without the event loop"
    finally:
        whole.runtime.stop()
        await whole.clock.advance_until(task.done)
