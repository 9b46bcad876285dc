"""`hilum model promote` and `hilum model rollback`: which model is in use, and which one is on trial."""

from collections.abc import Sequence
from typing import Annotated

import typer

from config.settings import Settings
from daemon.cli.database import actor, store_of
from daemon.cli.options import Config, settings_of
from daemon.cli.tables import say
from daemon.runtime.clock import now
from storage.errors import StorageError


def promote(
    name: Annotated[str, typer.Argument(help="The model on trial that is to come into use.")],
    instead_of: Annotated[
        str, typer.Option(help="The model in use that goes on trial; default: the only one in use.")
    ] = "",
    config: Config = None,
) -> None:
    """Take a model on trial into use, in place of another, which is on trial from then on.

    The daemon goes by it from the next study on; it is not stopped. Studies that are analysed already stay as they are.
    hilum model rollback undoes it. Both are in the audit trail.
    """
    settings, store = settings_of(config), store_of(config)
    in_use, on_trial = roles(settings, store.journal.promotions())
    replaced = instead_of or (in_use[0] if len(in_use) == 1 else "")
    if name not in on_trial:
        _refuse(f"{name!r} is not on trial; those on trial: {', '.join(on_trial) or 'none'}")
    if replaced not in in_use:
        _refuse(f"--instead-of is {instead_of!r}, expected a model in use: {', '.join(in_use)}")
    try:
        store.journal.promote(name, replaced, now(), actor())
    except StorageError as fault:
        _refuse(str(fault))
    say(f"{name} is in use, {replaced} is on trial")


def rollback(config: Config = None) -> None:
    """Undo the last promotion: the former model comes into use again, and the other one goes on trial."""
    try:
        in_use, on_trial = store_of(config).journal.roll_back(now(), actor())
    except StorageError as fault:
        _refuse(str(fault))
    say(f"{in_use} is in use, {on_trial} is on trial")


def roles(settings: Settings, promotions: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the names of the models in use, and of those on trial."""
    from daemon.analysis.routing import routes

    routed = routes(settings, promotions)
    return [one.name for one in routed if not one.shadow], [one.name for one in routed if one.shadow]


def _refuse(sentence: str) -> None:
    say(sentence, err=True)
    raise typer.Exit(1)
