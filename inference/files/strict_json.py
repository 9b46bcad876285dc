"""JSON that every reader takes: it has no NaN and no Infinity (RFC 8259)."""

import json
import math
from typing import Any


def strict_json(content: Any, indent: int | None = 2) -> str:
    """Return the content as JSON, with null in place of a number that is not finite. Numbers of numpy are numbers."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, str | bool | int) or value is None:
        return value
    return float(value) if math.isfinite(value) else None
