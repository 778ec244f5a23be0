"""Where a vehicle is: `udp:0.0.0.0:14550`, `udpout:HOST:PORT`, `tcp:HOST:PORT`, `serial:/dev/ttyACM0:57600`."""

from typing import Literal, NamedTuple

EXAMPLES = "udp:0.0.0.0:14550, udpout:192.168.1.10:14550, tcp:127.0.0.1:5760 or serial:/dev/ttyACM0:57600"
BAUDS = (50, 4_000_000)


class Address(NamedTuple):
    """`udp` waits for a vehicle that sends to `port`; `udpout` and `tcp` go to one; `serial` has a device's file as
    `host` and bits per second as `port`."""

    kind: Literal["udp", "udpout", "tcp", "serial"]
    host: str
    port: int


def parse(text: str) -> Address:
    """Raises ValueError, which says what is wrong and what was expected."""
    kind, _, rest = text.partition(":")
    host, _, number = rest.removeprefix("//").rpartition(":")
    kind = "udp" if kind == "udpin" else kind
    if kind not in ("udp", "udpout", "tcp", "serial"):
        raise ValueError(f"{text!r} begins with none of udp:, udpout:, tcp:, serial:; expected {EXAMPLES}")
    if not number.isascii() or not number.isdigit():
        what = "bits per second" if kind == "serial" else "a port"
        raise ValueError(f"{text!r} does not end with {what}, expected {EXAMPLES}")
    least, most = BAUDS if kind == "serial" else (1, 65535)
    if not least <= int(number) <= most:
        raise ValueError(f"{text!r} ends with {int(number)}, expected {least} to {most}")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        if kind != "udp":
            what = "a device's file" if kind == "serial" else "a host"
            raise ValueError(f"{text!r} does not name {what}, expected {EXAMPLES}")
        host = "0.0.0.0"  # noqa: S104 - as everybody's ground station waits for vehicles
    return Address(kind, host, int(number))  # type: ignore[arg-type] # mypy does not narrow by `in`
