"""What the journal knows of the results that were made of a study before."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby

from sqlalchemy import Connection, func, select

from storage.analyses import EarlierObject, analysis, analysis_object
from storage.schema import audit, delivery, result_object, study


def load_earlier(connection: Connection, study_ids: Sequence[int]) -> dict[int, list[EarlierObject]]:
    """Return the result objects made so far, by study, newest last."""
    names = ("id", "study_id", "kind", "sop_class_uid", "sop_instance_uid", "created_at")
    first = select(func.min(analysis_object.c.analysis_id)).where(analysis_object.c.object_id == result_object.c.id)
    made = (
        select(*(result_object.c[name] for name in names), delivery.c.destination, analysis.c.model,
               analysis.c.bundle_version)
        .outerjoin(delivery, delivery.c.object_id == result_object.c.id)
        .outerjoin(analysis, analysis.c.id == first.scalar_subquery())
        .where(result_object.c.study_id.in_(study_ids))
        .order_by(result_object.c.id)
    )  # fmt: skip
    objects: dict[int, list[EarlierObject]] = defaultdict(list)
    for _, deliveries in groupby(connection.execute(made).all(), key=lambda row: row.id):
        one, *others = deliveries
        destinations = frozenset(row.destination for row in (one, *others) if row.destination is not None)
        made_of = one.kind, one.sop_class_uid, one.sop_instance_uid, destinations, one.created_at
        objects[one.study_id].append(EarlierObject(*made_of, one.bundle_version or "", one.model or ""))
    return objects


def corrected_since(connection: Connection, earlier: Mapping[int, Sequence[EarlierObject]]) -> set[int]:
    """Return the studies of which a header was corrected after the newest of these objects was made."""
    if not any(earlier.values()):
        return set()
    corrections = (
        select(study.c.id, func.max(audit.c.at).label("at"))
        .join(audit, audit.c.study_instance_uid == study.c.study_instance_uid)
        .where(study.c.id.in_(list(earlier)), audit.c.event == "CORRECTED")
        .group_by(study.c.id)
    )
    rows = connection.execute(corrections).all()
    return {row.id for row in rows if earlier[row.id] and earlier[row.id][-1].made_at < row.at}
