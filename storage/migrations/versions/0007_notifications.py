"""Notifications of alerts wait in the database until they were sent."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """No study of before raised an alert."""
    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("message_id", "notifier", "content", "state")),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('PENDING', 'ACCEPTED', 'WARNING', 'REFUSED')", name="ck_notification_state"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id"),
    )
    pending = sa.text("state = 'PENDING'")
    op.create_index(
        "ix_notification_due",
        "notification",
        ["notifier", "next_attempt_at", "id"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_index("ix_notification_study_id", "notification", ["study_id"])
