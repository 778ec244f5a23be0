"""Whether the hub would take a message: what it would refuse is better refused here, where somebody can mend it."""

from botyard_schemas import DEFAULT_LIMIT, WireError, decode, encode
from botyard_schemas.messages import Body, Envelope

# Bytes that the envelope of a real message may have more than the one here.
ROOM = 1024


def fault(body: Body) -> str | None:
    """What keeps the message from being sent, as a sentence that names the field; None: nothing does."""
    try:
        decode(encode(Envelope("robot", 0, body, "epoch", 1)), limit=DEFAULT_LIMIT - ROOM)
    except WireError as error:
        return str(error).removeprefix("body.")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return str(error)
    return None
