"""What is wired to the pins, by way of gpiozero. Everything here blocks, or is called in a thread of gpiozero's."""

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from botyard_edge.driver import ConfigurationError

SPEED_OF_SOUND = 343.26  # m/s at 20 °C
PULSE = 10e-6  # s; HC-SR04: at least 10 us
ECHO_WITHIN = 0.1  # s; HC-SR04: the echo takes at most 38 ms
BOUNCE = {"bumper": 0.01}  # s for which a contact may chatter; an emergency stop waits for nothing

OnChange = Callable[[str, bool], None]


class Switch:
    """Something that is on or off: an input, a bumper, an emergency stop."""

    def __init__(self, name: str, part: Mapping[str, Any], on_change: OnChange) -> None:
        import gpiozero

        self.kind: str = part["kind"]
        pull_up = self.kind != "input" or part.get("pull", "up") == "up"
        # An emergency stop that is closed while all is well also stops when its wire breaks.
        self._inverted = self.kind == "estop" and part.get("normally_closed", True)
        self._device = gpiozero.DigitalInputDevice(
            part["pin"], pull_up=pull_up, bounce_time=part.get("bounce", BOUNCE.get(self.kind))
        )
        self._device.when_activated = lambda: on_change(name, not self._inverted)
        self._device.when_deactivated = lambda: on_change(name, self._inverted)

    @property
    def value(self) -> bool:
        return bool(self._device.is_active) is not self._inverted

    def close(self) -> None:
        self._device.close()


class Output:
    """One pin that is switched."""

    def __init__(self, part: Mapping[str, Any]) -> None:
        import gpiozero

        self._device = gpiozero.DigitalOutputDevice(part["pin"], active_high=part.get("active_high", True))

    @property
    def value(self) -> bool:
        return bool(self._device.value)

    def set(self, value: bool) -> None:
        """Switch."""
        self._device.value = value

    def close(self) -> None:
        self._device.close()


class Motor:
    """Two pins of a bridge, of which one at a time gets pulses."""

    def __init__(self, part: Mapping[str, Any]) -> None:
        import gpiozero

        self._device = gpiozero.Motor(part["forward"], part["backward"])

    @property
    def value(self) -> float:
        return float(self._device.value)

    def set(self, value: float) -> None:
        """Turn at this share of full speed."""
        self._device.value = value

    def close(self) -> None:
        self._device.stop()
        self._device.close()


class Distance:
    """An ultrasonic sensor with a trigger and an echo, as HC-SR04."""

    def __init__(self, part: Mapping[str, Any]) -> None:
        import gpiozero

        self._most: float = part.get("max_distance", 4.0)
        self._trigger = gpiozero.DigitalOutputDevice(part["trigger"])
        self._echo = gpiozero.InputDevice(part["echo"], pull_up=False)
        self._rose: float | None = None
        self._lengths: deque[float] = deque(maxlen=1)
        self._fell = threading.Event()
        self._echo.pin.edges = "both"
        self._echo.pin.when_changed = self._changed

    def measure(self) -> float | None:
        """Metres; None when there is no echo, or none from within the largest distance."""
        self._rose = None
        self._lengths.clear()
        self._fell.clear()
        self._trigger.on()
        time.sleep(PULSE)
        self._trigger.off()
        if not self._fell.wait(ECHO_WITHIN) or not self._lengths:
            return None
        distance = self._lengths[0] * SPEED_OF_SOUND / 2.0
        return distance if distance <= self._most else None

    def close(self) -> None:
        self._echo.close()
        self._trigger.close()

    def _changed(self, ticks: float, level: int) -> None:
        if level:
            self._rose = ticks
        elif self._rose is not None:
            self._lengths.append(self._echo.pin_factory.ticks_diff(ticks, self._rose))
            self._fell.set()


Anything = Switch | Output | Motor | Distance


def open_all(devices: Mapping[str, Mapping[str, Any]], on_change: OnChange) -> dict[str, Anything]:
    """All devices by name. Raises ConfigurationError, and then none is open."""
    import gpiozero

    made: dict[str, Anything] = {}
    try:
        for name, part in devices.items():
            with warnings.catch_warnings():
                # Which pin library is missing is told below, if none is there.
                warnings.simplefilter("ignore", gpiozero.PinFactoryFallback)
                made[name] = _open(name, part, on_change)
    except ImportError as error:  # of which gpiozero's BadPinFactory is one
        raise ConfigurationError(
            "there are no GPIO pins that can be used: on a Raspberry Pi install the package lgpio (pip install lgpio) "
            "and add the user to the group gpio"
        ) from error
    except (gpiozero.GPIOZeroError, OSError) as error:
        for device in made.values():
            device.close()
        raise ConfigurationError(f"devices.{name}: {error}") from error
    return made


def _open(name: str, part: Mapping[str, Any], on_change: OnChange) -> Anything:
    if part["kind"] == "motor":
        return Motor(part)
    if part["kind"] == "output":
        return Output(part)
    return Distance(part) if part["kind"] == "distance" else Switch(name, part, on_change)
