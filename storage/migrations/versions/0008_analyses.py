"""Each model's analysis of a study has a row of its own, and what it said hangs on that.

Until now a study had the findings of its latest analysis, and an image its latest result. The audit trail has a row for
each analysis that ended: from these come the earlier ones, without what they said.
"""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")
MANY = 5000
ENDED = """SELECT at, study_instance_uid, detail FROM audit
WHERE event IN ('ANALYSED', 'ANALYSED_BEFORE', 'IGNORED') ORDER BY id"""
STUDIES = "SELECT id, study_instance_uid, revision, analysed_at, model_digest FROM study"
COLUMNS = (
    "study_id", "revision", "model", "shadow", "bundle_name", "bundle_version", "bundle_digest", "site_digest", "state",
    "reason", "current", "attempts", "claimed_by", "created_at", "started_at", "ended_at",
)  # fmt: skip
NEW = f"INSERT INTO analysis ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{name}' for name in COLUMNS)})"
CURRENT = "JOIN analysis a ON a.current = 1 AND a.study_id"


def upgrade() -> None:
    """Make the tables, fill them, and drop the columns whose content moved."""
    _make_tables()
    _write_analyses(op.get_bind())
    op.execute(
        "INSERT INTO image_result (analysis_id, instance_id, verdict, reason, result) "
        f"SELECT a.id, i.id, i.verdict, i.reason, i.result FROM instance i {CURRENT} = i.study_id "
        "WHERE i.verdict <> '' AND i.excluded = 0"
    )
    op.execute(
        "INSERT INTO finding_of_analysis (analysis_id, position, finding, call, content) "
        f"SELECT a.id, f.position, f.finding, f.call, f.content FROM finding f {CURRENT} = f.study_id"
    )
    op.execute(
        "INSERT INTO analysis_object (analysis_id, object_id) SELECT a.id, o.id FROM result_object o "
        "JOIN analysis a ON a.study_id = o.study_id AND a.ended_at = o.created_at"
    )
    op.drop_table("finding")
    op.rename_table("finding_of_analysis", "finding")
    op.create_index("ix_finding_finding", "finding", ["finding", "call"])
    op.drop_column("instance", "result")
    op.drop_column("study", "model_digest")


def _make_tables() -> None:
    op.create_table(
        "analysis",
        _integer("id"), _integer("study_id"), _integer("revision"), *_texts("model"), _integer("shadow"),
        *_texts("bundle_name", "bundle_version", "bundle_digest", "site_digest", "state", "reason"),
        _integer("current"), _integer("attempts"), *_texts("claimed_by"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint("state IN ('WAITING', 'DONE', 'FAILED', 'REPLACED')", name="ck_analysis_state"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("id"),
    )  # fmt: skip
    op.create_index("ix_analysis_study_id", "analysis", ["study_id", "current"])
    op.create_index("ix_analysis_ended_at", "analysis", ["model", "ended_at"])
    waiting = sa.text("state = 'WAITING'")
    op.create_index("ix_analysis_waiting", "analysis", ["id"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "image_result",
        _integer("analysis_id"), _integer("instance_id"), *_texts("verdict", "reason"),
        sa.Column("result", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["analysis_id"], ["analysis.id"]),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"]),
        sa.PrimaryKeyConstraint("analysis_id", "instance_id"),
    )  # fmt: skip
    op.create_index("ix_image_result_instance_id", "image_result", ["instance_id"])
    op.create_table(
        "finding_of_analysis",
        _integer("analysis_id"), _integer("position"), *_texts("finding", "call", "content"),
        sa.ForeignKeyConstraint(["analysis_id"], ["analysis.id"]),
        sa.PrimaryKeyConstraint("analysis_id", "position"),
    )  # fmt: skip
    op.create_table(
        "analysis_object",
        _integer("analysis_id"), _integer("object_id"),
        sa.ForeignKeyConstraint(["analysis_id"], ["analysis.id"]),
        sa.ForeignKeyConstraint(["object_id"], ["result_object.id"]),
        sa.PrimaryKeyConstraint("analysis_id", "object_id"),
    )  # fmt: skip
    op.create_index("ix_analysis_object_object_id", "analysis_object", ["object_id"])
    op.create_table(
        "promotion",
        _integer("id"), sa.Column("at", MOMENT, nullable=False), *_texts("model", "instead_of", "actor"),
        sa.PrimaryKeyConstraint("id"),
    )  # fmt: skip


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _write_analyses(connection: sa.Connection) -> None:
    """Write the analyses that ended, oldest first; the last one of each study is its current one."""
    rows: list[dict[str, Any]] = []
    last: dict[int, dict[str, Any]] = {}
    for row in _ended(connection):
        rows.append(row)
        last[row["study_id"]] = row
    names = _bundle_names(connection)
    for study_id, row in last.items():
        row.update(current=1, bundle_name=names.get(study_id, ""))
    for start in range(0, len(rows), MANY):
        connection.execute(sa.text(NEW), rows[start : start + MANY])


def _ended(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """Yield the analyses by the audit trail, then one for each study that was analysed before the trail said so."""
    known = {row.study_instance_uid: row for row in connection.execute(sa.text(STUDIES)).all()}
    seen = set()
    for at, uid, written in connection.execute(sa.text(ENDED)).all():
        detail = json.loads(written) if written else {}
        if uid in known and "model_digest" in detail:
            seen.add(uid)
            yield _row(known[uid].id, detail.get("revision", 1), detail, at)
    for uid in known.keys() - seen:
        study = known[uid]
        if study.analysed_at is not None:
            yield _row(study.id, study.revision, {"model_digest": study.model_digest}, study.analysed_at)


def _row(study_id: int, number: int, detail: dict[str, Any], ended_at: Any) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS, "") | {
        "study_id": study_id, "revision": number, "shadow": 0, "bundle_version": detail.get("model_version", ""),
        "bundle_digest": detail["model_digest"], "state": "DONE", "current": 0, "attempts": 1, "created_at": ended_at,
        "started_at": None, "ended_at": ended_at,
    }  # fmt: skip


def _bundle_names(connection: sa.Connection) -> dict[int, str]:
    """Return the name of the bundle of each study's latest results."""
    results = connection.execute(sa.text("SELECT study_id, result FROM instance WHERE result IS NOT NULL"))
    return {study_id: (json.loads(result).get("model") or {}).get("name", "") for study_id, result in results}
