"""The queries of administrators. They need neither a model nor a DICOM library, and return times as ISO 8601 text."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, exists, func, select

from storage.database import reading
from storage.records import State
from storage.schema import audit, conflict, delivery, instance, result_object, study
from storage.schema import finding as finding_table

_STUDY_COLUMNS = (
    "study_instance_uid",
    "accession_number",
    "patient_id",
    "study_date",
    "modality",
    "state",
    "reason",
    "received_at",
    "analysed_at",
    "delivered_at",
    "committed_at",
    "revision",
    "attempts",
    "model_digest",
)


_CONFLICTS = select(
    *(c for c in conflict.c if c.name != "spool_name"),
    *(
        instance.c[name].label(f"held_{name}")
        for name in ("sha256", "size", "calling_ae_title", "peer_address", "received_at")
    ),
).join(instance, instance.c.sop_instance_uid == conflict.c.sop_instance_uid)


class Queries:
    """The queries of administrators; no method changes anything. Rows are dictionaries that can be written as JSON."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def studies(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        patient: str | None = None,
        accession: str | None = None,
        finding: str | None = None,
        state: str | None = None,
        limit: int = 1000,
        study_instance_uid: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return studies received from `since` (included) to `until` (not included), newest first, with their findings.

        With `finding` only studies are returned in which that finding was above its threshold, in upper or lower case.
        """
        query = window(select(study), study.c.received_at, since, until)
        query = matching(query, (
            (study.c.patient_id, patient),
            (study.c.accession_number, accession),
            (study.c.state, state and state.upper()),
            (study.c.study_instance_uid, study_instance_uid),
        ))  # fmt: skip
        if finding is not None:
            named = func.lower(finding_table.c.finding) == finding.lower()
            above = finding_table.c.call == "above"
            query = query.where(exists().where(finding_table.c.study_id == study.c.id, above, named))
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(study.c.received_at.desc(), study.c.id.desc()).limit(limit)).all()
            found = _findings(connection, [row.id for row in rows])
            images = _image_counts(connection, [row.id for row in rows])
        return [
            {**_plain(row._mapping, _STUDY_COLUMNS), "images": images.get(row.id, 0), "findings": found[row.id]}
            for row in rows
        ]

    def study_detail(self, study_instance_uid: str) -> dict[str, Any] | None:
        """Return one study with its images, result objects, deliveries and events; None if the study is unknown."""
        found = self.studies(study_instance_uid=study_instance_uid)
        if not found:
            return None
        key = select(study.c.id).where(study.c.study_instance_uid == study_instance_uid).scalar_subquery()
        objects = [c for c in result_object.c if c.name not in ("id", "study_id", "data")]
        with reading(self._engine) as connection:
            images = connection.execute(select(instance).where(instance.c.study_id == key).order_by(instance.c.id))
            made = connection.execute(
                select(*objects).where(result_object.c.study_id == key).order_by(result_object.c.id)
            )
            more = {
                "instances": [_plain(row, skip=("id", "study_id")) for row in images.mappings()],
                "objects": [_plain(row) for row in made.mappings()],
            }
        return {
            **found[0],
            **more,
            "deliveries": self.deliveries(study_instance_uid=study_instance_uid),
            "events": self.events(study_instance_uid=study_instance_uid),
        }

    def results(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return the result of each image in order of arrival, as the objects that `hilum predict --json` prints.

        Their "file" is the SOP Instance UID. An image without a result has "analysed": false and the reason. How an
        image was taken, which the journal keeps as "acquisition", is left out.
        """
        columns = instance.c.sop_instance_uid, instance.c.reason, instance.c.result
        query = select(*columns).join(study, study.c.id == instance.c.study_id).order_by(instance.c.id)
        with reading(self._engine) as connection:
            rows = connection.execute(query.where(study.c.study_instance_uid == study_instance_uid)).all()
        waits = "not analysed yet"
        return [
            {key: value for key, value in row.result.items() if key != "acquisition"} if row.result
            else {"file": row.sop_instance_uid, "analysed": False, "reason": row.reason or waits}
            for row in rows
        ]  # fmt: skip

    def events(
        self,
        study_instance_uid: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        event: str | None = None,
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        """Return rows of the audit trail, oldest first; if there are more than `limit`, the newest ones."""
        query = window(select(audit), audit.c.at, since, until)
        if study_instance_uid is not None:
            query = query.where(audit.c.study_instance_uid == study_instance_uid)
        if event is not None:
            query = query.where(audit.c.event == event.upper())
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(audit.c.id.desc()).limit(limit)).mappings().all()
        return [_plain(row) for row in reversed(rows)]

    def quarantined(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the quarantined studies, which wait for a person, newest first."""
        return self.studies(state=State.QUARANTINED, limit=limit)

    def conflicts(self, limit: int = 1000, settled: bool = False) -> list[dict[str, Any]]:
        """Return the objects set aside because other bytes had arrived under their SOP Instance UID, newest first.

        Keys that begin with "held" describe the object that is in use. Conflicts that a person has decided are
        returned only with `settled`.
        """
        query = _CONFLICTS.order_by(conflict.c.id.desc()).limit(limit)
        if not settled:
            query = query.where(conflict.c.state == "OPEN")
        with reading(self._engine) as connection:
            return [_plain(row) for row in connection.execute(query).mappings()]

    def images(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """The images of a study in the order of arrival, with the names of their files in the spool."""
        names = ("sop_instance_uid", "spool_name", "sha256", "excluded", "verdict", "reason", "received_at")
        query = select(*(instance.c[name] for name in names)).join(study, study.c.id == instance.c.study_id)
        query = query.where(study.c.study_instance_uid == study_instance_uid).order_by(instance.c.id)
        with reading(self._engine) as connection:
            return [_plain(row) for row in connection.execute(query).mappings()]

    def conflict(self, conflict_id: int) -> dict[str, Any] | None:
        """Return one conflict with the names of both files in the spool; None if no conflict has this number."""
        query = _CONFLICTS.add_columns(conflict.c.spool_name, instance.c.spool_name.label("held_spool_name"))
        with reading(self._engine) as connection:
            row = connection.execute(query.where(conflict.c.id == conflict_id)).mappings().one_or_none()
        return _plain(row) if row else None

    def deliveries(
        self,
        study_instance_uid: str | None = None,
        destination: str | None = None,
        state: str | None = None,
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        """Return deliveries and their state, oldest first."""
        skip = ("id", "object_id", "study_id")
        columns = [c for c in delivery.c if c.name not in skip]
        query = (
            select(study.c.study_instance_uid, result_object.c.kind, result_object.c.sop_instance_uid, *columns)
            .join(study, study.c.id == delivery.c.study_id)
            .join(result_object, result_object.c.id == delivery.c.object_id)
            .order_by(delivery.c.id)
            .limit(limit)
        )
        query = matching(query, (
            (study.c.study_instance_uid, study_instance_uid),
            (delivery.c.destination, destination),
            (delivery.c.state, state and state.upper()),
        ))  # fmt: skip
        with reading(self._engine) as connection:
            return [_plain(row) for row in connection.execute(query).mappings()]


def window(query: Select[Any], column: Any, since: datetime | None, until: datetime | None) -> Select[Any]:
    """Keep the rows whose time is from `since` (included) to `until` (not included); None is no limit."""
    if since is not None:
        query = query.where(column >= since)
    return query if until is None else query.where(column < until)


def matching(query: Select[Any], wanted: Iterable[tuple[Any, Any]]) -> Select[Any]:
    """Keep the rows in which each column has the value that is wanted of it; None wants nothing."""
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    return query


def _findings(connection: Connection, study_ids: Sequence[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for ids in _chunks(study_ids):
        query = select(finding_table).where(finding_table.c.study_id.in_(ids))
        query = query.order_by(finding_table.c.study_id, finding_table.c.position)
        for row in connection.execute(query):
            found[row.study_id].append(row.content)
    return found


def _image_counts(connection: Connection, study_ids: Sequence[int]) -> dict[int, int]:
    counted: dict[int, int] = {}
    for ids in _chunks(study_ids):
        query = select(instance.c.study_id, func.count()).where(instance.c.study_id.in_(ids))
        counted.update((row[0], row[1]) for row in connection.execute(query.group_by(instance.c.study_id)))
    return counted


def _chunks(values: Sequence[int], size: int = 500) -> Iterable[Sequence[int]]:
    """Split the values: a statement of SQLite has at most 32766 parameters, in older versions 999."""
    return (values[start : start + size] for start in range(0, len(values), size))


def _plain(row: Any, names: Iterable[str] | None = None, skip: Iterable[str] = ()) -> dict[str, Any]:
    """Return a row as a dictionary that can be written as JSON."""
    chosen = [name for name in (names or row) if name not in skip]
    return {name: row[name].isoformat() if isinstance(row[name], datetime) else row[name] for name in chosen}
