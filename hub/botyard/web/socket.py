"""The WebSocket /api/v1/ws: a snapshot, then changes; see `feed`."""

import asyncio

import msgspec
from quart import Blueprint, websocket

from botyard.web.client import MAX_WATCHED, Client
from botyard.web.context import the_feed
from botyard.web.feed import Feed
from botyard.web.frames import ClientFrame, Ping, Watch

blueprint = Blueprint("socket", __name__)

# A screen needs some pictures a second, not a thousand; and nobody should wait much longer than an eye can see.
PAUSE = 0.03
# Proxies cut connections on which nothing moves, and a dead one is found by writing to it: seconds.
SIGN_OF_LIFE = 20.0
# Close code 1012 of the IANA registry: come back in a moment.
SERVICE_RESTART = 1012

_decoder = msgspec.json.Decoder(ClientFrame)


@blueprint.websocket("/api/v1/ws")
async def live() -> None:
    """Serve one client until it leaves."""
    feed = the_feed()
    client = Client()
    await websocket.accept()
    feed.join(client)
    try:
        await websocket.send(feed.first_frame(websocket.args.get("since")).decode())
        async with asyncio.TaskGroup() as tasks:
            talking = [
                tasks.create_task(_send_changes(feed, client), name="hub.ws.send"),
                tasks.create_task(_read_wishes(client), name="hub.ws.read"),
            ]
            await feed.closing.wait()
            for task in talking:
                task.cancel()
        await websocket.close(SERVICE_RESTART, "the hub stops")
    finally:
        feed.leave(client)


async def _send_changes(feed: Feed, client: Client) -> None:
    while True:
        try:
            async with asyncio.timeout(SIGN_OF_LIFE):  # wait_for may swallow that the task is told to end
                await client.dirty.wait()
        except TimeoutError:
            client.ping()
        for frame in feed.frames(client):
            await websocket.send(frame.decode())
        await asyncio.sleep(PAUSE)


async def _read_wishes(client: Client) -> None:
    """Never waits for the client to read: what it sends meanwhile would pile up in Quart, without a limit."""
    while True:
        text = await websocket.receive()
        try:
            wish = _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            client.complain(f"not understood: {error}")
            continue
        match wish:
            case Ping():
                client.ping()
            case Watch(robots=robots) if len(robots) > MAX_WATCHED:
                client.complain(f"robots: {len(robots)} robots, at most {MAX_WATCHED} can be watched")
            case Watch(robots=robots):
                client.watch(robots)
