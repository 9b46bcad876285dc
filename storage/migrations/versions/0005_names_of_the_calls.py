"""The calls have other names: present is above, undetermined is near, absent is below.

The result objects that were sent keep their bytes: there the former words stand as they were said.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NAMES = {"present": "above", "undetermined": "near", "absent": "below"}


def upgrade() -> None:
    """Rename the calls in the summaries of studies and in the results of images, which are canonical JSON text."""
    for old, new in NAMES.items():
        op.execute(sa.text("UPDATE finding SET call = :new WHERE call = :old").bindparams(new=new, old=old))
        for table, column in (("finding", "content"), ("instance", "result")):
            text = sa.text(f"UPDATE {table} SET {column} = replace({column}, :old, :new) WHERE {column} LIKE :some")
            before, after = (f'"call":"{name}"' for name in (old, new))
            op.execute(text.bindparams(old=before, new=after, some=f"%{before}%"))
