"""Limits that a part sets for its own process."""

import resource


def limit_memory(limit: int) -> None:
    """Limit this process's data segment to `limit` bytes, beyond which it gets MemoryError; 0: no limit."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
