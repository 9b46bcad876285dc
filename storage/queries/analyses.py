"""Queries on what the models said, study by study and image by image."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select

from storage.analyses import analysis, image_result
from storage.analyses import finding as finding_table
from storage.database import reading
from storage.queries.rows import chunks, plain, window
from storage.schema import instance, study

SAID = (analysis.c.current == 1) & (analysis.c.shadow == 0)
"""What the models in use say today; what was said before, or by a model on trial, is no answer to a query."""


class AnalysisQueries:
    """The queries on analyses; no method changes anything. Rows are dictionaries that can be written as JSON."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def results(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return the results of each image in order of arrival, as the objects that `hilum predict --json` prints.

        Their "file" is the SOP Instance UID. There is one for each model that the image is for. An image without a
        result has "analysed": false and the reason. How an image was taken, which the journal keeps as "acquisition",
        is left out.
        """
        columns = instance.c.id, instance.c.sop_instance_uid, instance.c.reason, instance.c.verdict
        images = select(*columns).join(study, study.c.id == instance.c.study_id).order_by(instance.c.id)
        said = select(image_result.c.instance_id, image_result.c.result).order_by(image_result.c.analysis_id)
        said = said.join(analysis, analysis.c.id == image_result.c.analysis_id).where(SAID)
        said = said.join(study, study.c.id == analysis.c.study_id)
        said = said.where(study.c.study_instance_uid == study_instance_uid)
        results: dict[int, list[dict[str, Any]]] = defaultdict(list)
        with reading(self._engine) as connection:
            rows = connection.execute(images.where(study.c.study_instance_uid == study_instance_uid)).all()
            for key, result in connection.execute(said):
                if result:
                    results[key].append({name: value for name, value in result.items() if name != "acquisition"})
        waits = "not analysed yet"
        return [
            result
            for row in rows
            for result in (results[row.id] if row.verdict else ())  # an image in another version has none yet
            or [{"file": row.sop_instance_uid, "analysed": False, "reason": row.reason or waits}]
        ]

    def analyses(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return every analysis of a study, oldest first: which model said what, those of models on trial included."""
        query = select(analysis).join(study).where(study.c.study_instance_uid == study_instance_uid)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(analysis.c.id)).mappings().all()
            found = _findings_of(connection, [row["id"] for row in rows])
        skip = ("id", "study_id", "claimed_by", "attempts")
        return [{**plain(row, skip=skip), "findings": found[row["id"]]} for row in rows]

    def model_names(self) -> list[str]:
        """Return the names of the models that have seen a study, in the order of the alphabet."""
        with reading(self._engine) as connection:
            return sorted(connection.execute(select(analysis.c.model).distinct()).scalars())

    def compared(
        self, first: str, second: str, since: datetime | None = None, until: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Return what two models say of the images that both have seen, in the keys "first" and "second".

        Analyses of the first model that ended from `since` (included) to `until` (not included) count. Of each model
        it is the newest result of the image.
        """
        one, other = (_newest_results(name).subquery() for name in (first, second))
        query = (
            select(instance.c.sop_instance_uid, study.c.study_instance_uid, instance.c.calling_ae_title,
                   one.c.result.label("first"), other.c.result.label("second"))
            .join(one, one.c.instance_id == instance.c.id)
            .join(other, other.c.instance_id == instance.c.id)
            .join(study, study.c.id == instance.c.study_id)
            .order_by(instance.c.id)
        )  # fmt: skip
        with reading(self._engine) as connection:
            rows = connection.execute(window(query, one.c.ended_at, since, until)).mappings()
            return [dict(row) for row in rows]


def _newest_results(model: str) -> Select[Any]:
    """What a model says of each image, where it says anything of it."""
    newest = select(func.max(image_result.c.analysis_id)).join(analysis).where(analysis.c.model == model)
    newest = newest.where(analysis.c.state == "DONE").group_by(image_result.c.instance_id)
    columns = image_result.c.instance_id, image_result.c.result, analysis.c.ended_at
    said = select(*columns).join(analysis, analysis.c.id == image_result.c.analysis_id)
    return said.where(image_result.c.analysis_id.in_(newest), image_result.c.result.is_not(None))


def findings_of_studies(connection: Connection, study_ids: Sequence[int]) -> dict[int, list[Any]]:
    """Return what the models in use say of each study."""
    found: dict[int, list[Any]] = defaultdict(list)
    for ids in chunks(study_ids):
        query = select(analysis.c.study_id, finding_table.c.content).join(analysis)
        query = query.where(SAID, analysis.c.study_id.in_(ids)).order_by(analysis.c.id, finding_table.c.position)
        for study_id, content in connection.execute(query):
            found[study_id].append(content)
    return found


def _findings_of(connection: Connection, analysis_ids: Sequence[int]) -> dict[int, list[Any]]:
    """Return what each analysis says of its study."""
    found: dict[int, list[Any]] = defaultdict(list)
    query = select(finding_table).where(finding_table.c.analysis_id.in_(analysis_ids))
    for row in connection.execute(query.order_by(finding_table.c.analysis_id, finding_table.c.position)):
        found[row.analysis_id].append(row.content)
    return found


def models_of_studies(connection: Connection, study_ids: Sequence[int]) -> dict[int, list[dict[str, str]]]:
    """Return the models in use that saw each study last."""
    names = {"model": "name", "bundle_name": "bundle_name", "bundle_version": "version", "bundle_digest": "digest",
             "site_digest": "site_digest"}  # fmt: skip
    models: dict[int, list[dict[str, str]]] = defaultdict(list)
    for ids in chunks(study_ids):
        query = select(analysis).where(SAID, analysis.c.study_id.in_(ids)).order_by(analysis.c.id)
        for row in connection.execute(query).mappings():
            models[row["study_id"]].append({name: row[column] for column, name in names.items()})
    return models
