"""`python -m daemon` is `hilum`."""

from daemon.cli.main import app

app(prog_name="hilum")
