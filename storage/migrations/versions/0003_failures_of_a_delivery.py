"""Deliveries that a destination answered with a failure are told from those that it never answered."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Deliveries of before count from none."""
    op.add_column("delivery", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("delivery", sa.Column("first_failed_at", MOMENT, nullable=True))
