"""Run by Alembic: uses the connection that `storage.migrate` hands over, and its transaction."""

from alembic import context

from storage.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
