"""How fast a database grows, and when there is no room left."""

from botyard.store.holdings import Size

HOUR = 3_600_000_000  # µs
DAY = 24 * HOUR
BASIS = 7 * DAY  # what growth is measured over
FARTHEST = 36_525  # days; what is farther away says nothing


def growth(sizes: list[Size]) -> float | None:
    """Bytes per day: the slope of the least-squares line through the sizes of the last seven days.

    `sizes` are in the order of time. None when they cover less than an hour.
    """
    recent = [size for size in sizes if size.ts >= sizes[-1].ts - BASIS]
    if not recent or recent[-1].ts - recent[0].ts < HOUR:
        return None
    days = [(size.ts - recent[0].ts) / DAY for size in recent]
    mean_day = sum(days) / len(days)
    mean_size = sum(size.bytes for size in recent) / len(recent)
    covariance = sum((day - mean_day) * (size.bytes - mean_size) for day, size in zip(days, recent, strict=True))
    return covariance / sum((day - mean_day) ** 2 for day in days)


def full_at(now: int, room: int | None, per_day: float | None) -> int | None:
    """When `room` bytes are used up at a growth of so many bytes a day, in µs; None: not in sight, or not known."""
    if room is None or per_day is None or per_day <= 0:
        return None
    days = max(0, room) / per_day
    return None if days > FARTHEST else now + round(days * DAY)


def room(size: int, free: int | None, limit: int | None) -> int | None:
    """How many bytes a database may still grow by: what is left on the disk, or up to its limit. None: not known."""
    left = [free, None if limit is None else limit - size]
    return min((one for one in left if one is not None), default=None)
