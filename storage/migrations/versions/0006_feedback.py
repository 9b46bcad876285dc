"""What readers say of results.

No row is ever changed, which triggers see to. A row may be removed together with its study; the audit trail still tells
that there was one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")
REFUSAL = "a verdict is never changed: give another one"
SQLITE_TRIGGERS = (
    f"CREATE TRIGGER feedback_no_update BEFORE UPDATE ON feedback BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    # INSERT OR REPLACE changes a row without firing the trigger for UPDATE
    "CREATE TRIGGER feedback_no_replace BEFORE INSERT ON feedback WHEN EXISTS "
    f"(SELECT 1 FROM feedback WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
)
POSTGRESQL_TRIGGERS = (
    "CREATE FUNCTION feedback_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    "CREATE TRIGGER feedback_no_update BEFORE UPDATE ON feedback FOR EACH ROW EXECUTE FUNCTION feedback_refuse()",
)


def upgrade() -> None:
    """Make the table, with nothing in it."""
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        *texts("sop_instance_uid", "finding", "verdict"),
        sa.Column("present", sa.Integer(), nullable=False),
        *texts("call"),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        *texts("model_digest", "view", "reader", "note", "result"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_feedback_study_id", "feedback", ["study_id"])
    op.create_index("ix_feedback_at", "feedback", ["at"])
    for statement in SQLITE_TRIGGERS if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_TRIGGERS:
        op.execute(statement)


def texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
