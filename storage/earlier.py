"""A result that was made before, as the next analysis of its study is told of it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class EarlierObject:
    """A result object that was made earlier, and the names of the destinations that it was made for."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    destinations: frozenset[str]
    made_at: datetime
    """The same for all objects of one analysis."""
    model: str = ""
    """Version of the model that it is a result of; "" if the journal does not know it."""
