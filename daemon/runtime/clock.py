"""The only place that asks what time it is."""

from datetime import UTC, datetime


def now() -> datetime:
    """This moment, with its offset, in UTC."""
    return datetime.now(UTC)
