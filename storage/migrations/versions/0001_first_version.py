"""All tables and indexes of the first version, and the triggers that keep the audit trail append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")

REFUSAL = "the audit trail is append-only"

SQLITE_TRIGGERS = (
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    # INSERT OR REPLACE deletes the old row without firing the trigger for DELETE.
    "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) "
    f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    "CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head WHEN NEW.id <= OLD.id OR NEW.one <> OLD.one "
    f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    f"CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
)
POSTGRESQL_TRIGGERS = (
    "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head FOR EACH ROW "
    "WHEN (NEW.id <= OLD.id OR NEW.one <> OLD.one) EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_head_no_truncate BEFORE TRUNCATE ON audit_head EXECUTE FUNCTION audit_refuse()",
)


def upgrade() -> None:
    create_audit()
    create_audit_head()
    create_commit_request()
    create_conflict()
    create_outbox()
    create_study()
    create_finding()
    create_instance()
    create_result_object()
    create_delivery()
    create_commitment()
    op.execute("INSERT INTO audit_head (one, id, digest) VALUES (1, 0, '')")
    for statement in SQLITE_TRIGGERS if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_TRIGGERS:
        op.execute(statement)


def texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def create_audit() -> None:
    op.create_table(
        "audit",
        # In SQLite, a primary key of type INTEGER is the table's own row number.
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        *texts(
            "event",
            "study_instance_uid",
            "sop_instance_uid",
            "actor",
            "from_state",
            "to_state",
            "detail",
            "previous",
            "digest",
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_study_instance_uid", "audit", ["study_instance_uid"])


def create_audit_head() -> None:
    op.create_table(
        "audit_head",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        *texts("digest"),
        sa.PrimaryKeyConstraint("one"),
    )


def create_commit_request() -> None:
    op.create_table(
        "commit_request",
        sa.Column("id", sa.Integer(), nullable=False),
        *texts("transaction_uid", "calling_ae_title", "peer_address", "objects"),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("transaction_uid", "calling_ae_title"),
    )
    op.create_index("ix_commit_request_due", "commit_request", ["due_at"])


def create_conflict() -> None:
    op.create_table(
        "conflict",
        sa.Column("id", sa.Integer(), nullable=False),
        *texts("study_instance_uid", "sop_instance_uid", "spool_name"),
        sa.Column("size", sa.Integer(), nullable=False),
        *texts("sha256", "calling_ae_title", "peer_address"),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sop_instance_uid", "sha256"),
    )
    op.create_index("ix_conflict_spool_name", "conflict", ["spool_name"])


def create_outbox() -> None:
    op.create_table(
        "outbox",
        *texts("reader"),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reader"),
    )


def create_study() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        *texts("study_instance_uid", "patient_id", "accession_number", "study_date", "modality", "state", "reason"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("last_received_at", MOMENT, nullable=False),
        sa.Column("not_before", MOMENT, nullable=True),
        *texts("claimed_by"),
        sa.Column("analysed_at", MOMENT, nullable=True),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.Column("committed_at", MOMENT, nullable=True),
        *texts("model_digest"),
        sa.CheckConstraint(
            "state IN ('RECEIVED', 'ANALYSED', 'DELIVERED', 'COMMITTED', 'IGNORED', 'QUARANTINED')",
            name="ck_study_state",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("study_instance_uid"),
    )
    op.create_index("ix_study_accession_number", "study", ["accession_number"])
    op.create_index("ix_study_open", "study", ["state", "claimed_by", "priority", "received_at", "id"])
    op.create_index("ix_study_patient_id", "study", ["patient_id"])
    op.create_index("ix_study_received_at", "study", ["received_at"])


def create_finding() -> None:
    op.create_table(
        "finding",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *texts("finding", "call", "content"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("study_id", "position"),
    )
    op.create_index("ix_finding_finding", "finding", ["finding", "call"])


def create_instance() -> None:
    op.create_table(
        "instance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        *texts("series_instance_uid", "sop_class_uid", "sop_instance_uid", "transfer_syntax_uid", "spool_name"),
        sa.Column("size", sa.Integer(), nullable=False),
        *texts("sha256", "calling_ae_title", "peer_address"),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("held_until", MOMENT, nullable=True),
        *texts("verdict", "reason"),
        sa.Column("result", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sop_instance_uid"),
    )
    op.create_index("ix_instance_spool_name", "instance", ["spool_name"])
    partial("ix_instance_spooled", "instance", ["received_at"], "spool_name <> ''")
    op.create_index("ix_instance_study_id", "instance", ["study_id"])


def create_result_object() -> None:
    op.create_table(
        "result_object",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        *texts("kind", "sop_class_uid", "sop_instance_uid", "transfer_syntax_uid", "sha256"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sop_instance_uid"),
    )
    op.create_index("ix_result_object_study_id", "result_object", ["study_id"])


def create_delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        *texts("destination"),
        sa.Column("priority", sa.Integer(), nullable=False),
        *texts("state"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        *texts("comment", "commitment"),
        sa.Column("commit_requests", sa.Integer(), nullable=False),
        sa.Column("commit_requested_at", MOMENT, nullable=True),
        *texts("transaction_uid"),
        sa.CheckConstraint(
            "state IN ('PENDING', 'ACCEPTED', 'WARNING', 'REFUSED', 'CANCELLED')", name="ck_delivery_state"
        ),
        sa.ForeignKeyConstraint(["object_id"], ["result_object.id"]),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("object_id", "destination"),
    )
    partial("ix_delivery_due", "delivery", ["destination", "priority", "id", "next_attempt_at"], "state = 'PENDING'")
    op.create_index("ix_delivery_study_id", "delivery", ["study_id"])
    partial("ix_delivery_uncommitted", "delivery", ["destination", "id"], "commitment IN ('WANTED', 'REQUESTED')")


def create_commitment() -> None:
    op.create_table(
        "commitment",
        *texts("transaction_uid"),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        *texts("sop_instance_uid"),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"]),
        sa.PrimaryKeyConstraint("transaction_uid", "delivery_id"),
    )
