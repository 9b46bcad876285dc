"""What the journal knows of the results that were made of a study before."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, and_, func, select

from storage.earlier import EarlierObject
from storage.schema import audit, delivery, result_object, study

_ANALYSES = ("ANALYSED", "ANALYSED_BEFORE", "IGNORED")  # events of the audit trail that an analysis ends with


def load_earlier(connection: Connection, study_ids: Sequence[int]) -> dict[int, list[EarlierObject]]:
    """Return the result objects made so far, by study, newest last."""
    names = ("id", "study_id", "kind", "sop_class_uid", "sop_instance_uid", "created_at")
    made = (
        select(*(result_object.c[name] for name in names), study.c.study_instance_uid, delivery.c.destination)
        .join(study, study.c.id == result_object.c.study_id)
        .outerjoin(delivery, delivery.c.object_id == result_object.c.id)
        .where(result_object.c.study_id.in_(study_ids))
        .order_by(result_object.c.id)
    )
    rows = connection.execute(made).all()
    models = _models(connection, {row.study_instance_uid for row in rows})
    objects: dict[int, list[EarlierObject]] = defaultdict(list)
    for _, deliveries in groupby(rows, key=lambda row: row.id):
        first, *others = deliveries
        destinations = frozenset(row.destination for row in (first, *others) if row.destination is not None)
        model = models.get((first.study_instance_uid, first.created_at), "")
        made_of = first.kind, first.sop_class_uid, first.sop_instance_uid, destinations, first.created_at, model
        objects[first.study_id].append(EarlierObject(*made_of))
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


def _models(connection: Connection, study_instance_uids: set[str]) -> dict[tuple[str, datetime], str]:
    """Return the versions of the models of earlier analyses, by study and by the time at which each ended."""
    if not study_instance_uids:
        return {}
    ended = and_(audit.c.study_instance_uid.in_(study_instance_uids), audit.c.event.in_(_ANALYSES))
    rows = connection.execute(select(audit.c.study_instance_uid, audit.c.at, audit.c.detail).where(ended))
    return {(row.study_instance_uid, row.at): (row.detail or {}).get("model_version", "") for row in rows}
