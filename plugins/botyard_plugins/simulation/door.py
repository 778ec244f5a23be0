"""Where a simulated fleet meets a real hub: its addresses, and whether the fleet may come in."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from botyard.web.models import HubView
from botyard_edge.config import SCHEMES, Config, TransportSettings
from botyard_edge.transport import Transport, TransportError, Will
from botyard_edge.transports import make_transports
from botyard_plugins.simulation.hubapi import HubApi, NoAnswerError, RefusedError
from botyard_plugins.simulation.pacing import raise_file_limit
from botyard_plugins.simulation.thin import ThinTransport
from botyard_schemas import topics

# The hub's own address over HTTP, and the way of robots that goes with it.
WEB = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
API_PORT = 8080
# Seconds in which a robot that is alone has its connection.
ALONE = 20.0
# Seconds in which the hub has to answer at the beginning.
ANSWER_WITHIN = 3.0
# Open files of this process itself, of each robot's connection, and of each outbox on a disk.
FILES, FILES_OF_ROBOT, FILES_OF_DISK = 100, 1, 6


class HubError(Exception):
    """The fleet cannot be run at this hub; the sentence says why."""


def ways_of(hubs: Sequence[str], api: str | None) -> tuple[list[str], str]:
    """The robots' ways that URLs of `--hub` mean, and the address of the API. Raises HubError."""
    ways, found = [], api
    for url in hubs:
        try:
            parts = urlsplit(url)
            host, port, scheme = parts.hostname, parts.port, parts.scheme
        except ValueError as error:
            raise HubError(f"--hub: {url!r} is no URL: {error}") from error
        if scheme not in (*SCHEMES, "http", "https"):
            schemes = ", ".join(f"{one}://" for one in (*SCHEMES, "http", "https"))
            raise HubError(f"--hub: {url!r} begins with no scheme that robots know, expected one of {schemes}")
        if not host:
            raise HubError(f"--hub: {url!r} names no host, expected something like mqtt://localhost:1883")
        if scheme in WEB and found is None:
            address = f"[{host}]" if ":" in host else host
            found = f"{'https' if scheme in ('https', 'wss') else 'http'}://{address}{f':{port}' if port else ''}"
        ways.append(f"{WEB[scheme]}://{parts.netloc}" if scheme in ("http", "https") else url)
    host = urlsplit(hubs[0]).hostname or ""
    found = found or f"http://{f'[{host}]' if ':' in host else host}:{API_PORT}"
    if urlsplit(found).scheme not in ("http", "https"):
        raise HubError(f"--api: {found!r} is no address of a hub's API, expected something like http://localhost:8080")
    return ways, found


def settings_for(settings: Config, url: str, token: str | None, queue: float) -> Config:
    """The robots' settings for one way; the token is for those whose scenario names no credentials. A robot may wait
    `queue` seconds more until its connection is opened, since it is not alone."""
    own = settings.transports[0]
    known = own.password is not None or own.token is not None
    link = replace(settings.link, connect_within=settings.link.connect_within + queue)
    return replace(settings, link=link, transports=(replace(own, url=url, token=own.token if known else token),))


def transport_of(settings: Config, robot: str) -> Transport:
    """A robot's real transport, whose steps take as long as those of a robot that is alone. Raises PluginError when a
    library is missing."""
    within = settings.link.connect_within
    settings = replace(settings, link=replace(settings.link, connect_within=min(within, ALONE)))
    one: TransportSettings = settings.transports[0]
    if urlsplit(one.url).scheme not in ("mqtt", "mqtts") or one.version == "5":
        return make_transports(replace(settings, robot=robot))[0]
    return ThinTransport(
        robot,
        one.url,
        one.username or (robot if one.token else None),
        one.password or one.token,
        one.keepalive,
        settings.link.connect_within / 2,  # as the edge's own
        one.tls,
    )


def check_files(robots: int, with_disk: int) -> None:
    """Make room for open files. Raises HubError when the system does not give it."""
    wanted = FILES + FILES_OF_ROBOT * robots + FILES_OF_DISK * with_disk
    if (most := raise_file_limit(wanted)) is not None:
        raise HubError(
            f"{robots:,} robots need {wanted:,} open files, and this process may have {most:,}: raise the limit with "
            f"`ulimit -n {wanted}`, or simulate fewer robots"
        )


async def check_hub(api: HubApi, names: Sequence[str]) -> HubView:
    """The hub, if it is one, and the fleet may join it. Raises HubError."""
    try:
        hub = await api.hub(ANSWER_WITHIN)
        known = {robot.id: robot.status for robot in await api.robots()}
    except NoAnswerError as error:
        raise HubError(
            f"the hub's API at {api.url} does not answer ({error}): start the hub with `botyard hub`, or name the "
            "API's address with --api"
        ) from error
    except RefusedError as error:
        cure = "; give the token with --token" if error.status == 401 else ""
        raise HubError(f"the hub's API at {api.url} refuses: {error}{cure}") from error
    for name in names:
        status = known.get(name)
        if status is not None and status.presence.status == "online":
            raise HubError(
                f"the hub has a robot {name} that is online: end the other simulation, or choose other names "
                "with --prefix"
            )
        registration = status.registration if status else "accepted" if hub.auto_accept else "pending"
        if registration != "accepted":
            cure = "return it" if registration == "retired" else "accept it, or set fleet.auto_accept"
            raise HubError(f"the hub does not let {name} take part, it is {registration}: {cure}")
    return hub


async def check_way(transport: Transport, robot: str) -> None:
    """Whether a robot can connect at all. Raises HubError."""
    try:
        async with transport.session(Will(topics.presence(robot), b"")) as session:
            await session.subscribe(topics.all_down(robot))
    except TransportError as error:
        raise HubError(f"robots cannot connect to {transport.address}: {error}") from error
