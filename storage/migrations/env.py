"""Alembic runs this module. It uses the connection of `storage.migrate`, and thus the transaction of its caller."""

from alembic import context

from storage.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
