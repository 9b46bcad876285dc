"""`python -m daemon` is `hilum`."""

from daemon.cli import app

app(prog_name="hilum")
