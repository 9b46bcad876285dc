"""Conflicts that a person has settled are told from those that wait for one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every conflict of before waits for a person."""
    op.add_column("conflict", sa.Column("state", sa.Text(), nullable=False, server_default="OPEN"))
