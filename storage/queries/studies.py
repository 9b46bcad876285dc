"""The queries of administrators. They need neither a model nor a DICOM library, and return times as ISO 8601 text."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, select

from storage.analyses import analysis
from storage.analyses import finding as finding_table
from storage.database import reading
from storage.queries.analyses import SAID, AnalysisQueries, findings_of_studies, models_of_studies
from storage.queries.rows import chunks, matching, plain, window
from storage.records import State
from storage.schema import audit, conflict, delivery, instance, result_object, study

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
)


_CONFLICTS = select(
    *(c for c in conflict.c if c.name != "spool_name"),
    *(
        instance.c[name].label(f"held_{name}")
        for name in ("sha256", "size", "calling_ae_title", "peer_address", "received_at")
    ),
).join(instance, instance.c.sop_instance_uid == conflict.c.sop_instance_uid)


class StudyQueries(AnalysisQueries):
    """The queries of administrators; no method changes anything. Rows are dictionaries that can be written as JSON."""

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
            of_study = (analysis.c.id == finding_table.c.analysis_id) & (analysis.c.study_id == study.c.id)
            query = query.where(exists().where(of_study, SAID, above, named))
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(study.c.received_at.desc(), study.c.id.desc()).limit(limit)).all()
            ids = [row.id for row in rows]
            found, images, models = (
                findings_of_studies(connection, ids),
                _image_counts(connection, ids),
                models_of_studies(connection, ids),
            )
        return [
            {
                **plain(row._mapping, _STUDY_COLUMNS),
                "models": models[row.id],
                "images": images.get(row.id, 0),
                "findings": found[row.id],
            }
            for row in rows
        ]

    def study_detail(self, study_instance_uid: str) -> dict[str, Any] | None:
        """Return one study with its images, analyses, result objects, deliveries and events; None if it is unknown."""
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
                "instances": [plain(row, skip=("id", "study_id")) for row in images.mappings()],
                "objects": [plain(row) for row in made.mappings()],
            }
        return {
            **found[0],
            **more,
            "analyses": self.analyses(study_instance_uid),
            "deliveries": self.deliveries(study_instance_uid=study_instance_uid),
            "events": self.events(study_instance_uid=study_instance_uid),
        }

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
        return [plain(row) for row in reversed(rows)]

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
            return [plain(row) for row in connection.execute(query).mappings()]

    def images(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """The images of a study in the order of arrival, with the names of their files in the spool."""
        names = ("sop_instance_uid", "spool_name", "sha256", "excluded", "verdict", "reason", "received_at")
        query = select(*(instance.c[name] for name in names)).join(study, study.c.id == instance.c.study_id)
        query = query.where(study.c.study_instance_uid == study_instance_uid).order_by(instance.c.id)
        with reading(self._engine) as connection:
            return [plain(row) for row in connection.execute(query).mappings()]

    def conflict(self, conflict_id: int) -> dict[str, Any] | None:
        """Return one conflict with the names of both files in the spool; None if no conflict has this number."""
        query = _CONFLICTS.add_columns(conflict.c.spool_name, instance.c.spool_name.label("held_spool_name"))
        with reading(self._engine) as connection:
            row = connection.execute(query.where(conflict.c.id == conflict_id)).mappings().one_or_none()
        return plain(row) if row else None

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
            return [plain(row) for row in connection.execute(query).mappings()]


def _image_counts(connection: Connection, study_ids: Sequence[int]) -> dict[int, int]:
    counted: dict[int, int] = {}
    for ids in chunks(study_ids):
        query = select(instance.c.study_id, func.count()).where(instance.c.study_id.in_(ids))
        counted.update((row[0], row[1]) for row in connection.execute(query.group_by(instance.c.study_id)))
    return counted
