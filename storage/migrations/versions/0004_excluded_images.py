"""A person can say that an image does not belong to the patient of its study."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every image of before belongs to its study."""
    op.add_column("instance", sa.Column("excluded", sa.Integer(), nullable=False, server_default="0"))
