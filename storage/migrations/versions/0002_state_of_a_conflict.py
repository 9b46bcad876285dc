"""A column that tells conflicts which a person has decided from those that wait for a decision."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; every existing conflict waits for a decision."""
    op.add_column("conflict", sa.Column("state", sa.Text(), nullable=False, server_default="OPEN"))
