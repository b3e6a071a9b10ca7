"""`morph dev`."""

from typing import Annotated

import typer

from morph_assets.cli.output import print_line
from morph_assets.config import (
    DAGSTER_DATABASE_VARIABLE,
    PlatformFolders,
    read_dagster_database,
    read_external,
    read_folders,
    read_tenant,
)

_DEFAULT_PORT = 3000


def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the web server, on 127.0.0.1.")] = _DEFAULT_PORT,
) -> None:
    """Serve Dagster's user interface and run its daemon until Ctrl-C; the servers are started if they are not up.

    Submitted blueprints are then compiled, evaluated and published by themselves.

    Example: morph dev --port 3001
    """
    from morph_assets.devservices.dagster_servers import require_free_port
    from morph_assets.usecases.serve_dagster import serve_dagster

    folders = read_folders()
    require_free_port(port)
    if read_external().is_production:
        serve_dagster(folders, port=port, environment=_production(folders), when_ready=_tell)
        return
    from morph_assets.usecases.prepare_dagster import prepare_dagster
    from morph_assets.usecases.read_environment import read_environment
    from morph_assets.usecases.start_platform import start_platform
    from morph_assets.usecases.stop_platform import stop_platform

    started = start_platform(folders, tenant=read_tenant())
    try:
        prepare_dagster(folders)
        serve_dagster(folders, port=port, environment=read_environment(folders), when_ready=_tell)
    finally:
        if started.was_started:
            stop_platform(folders)


def _production(folders: PlatformFolders) -> dict[str, str]:
    """Return what the servers need beside the environment, where the databases are somebody else's."""
    from morph_assets.devservices.errors import ServicesError

    if read_dagster_database() is None:
        raise ServicesError(
            f"{DAGSTER_DATABASE_VARIABLE} is not set: name Dagster's own database, postgresql+psycopg2://..."
        )
    return {"DAGSTER_HOME": str(folders.dagster_home)}


def _tell(url: str) -> None:
    print_line(f"Dagster serves at {url}")
    print_line("stop with Ctrl-C; logs: morph logs webserver, morph logs daemon")
