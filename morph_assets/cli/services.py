"""`morph up`, `down`, `status`, `logs` and `env`."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from morph_assets.cli.output import print_error, print_json, print_line, print_table
from morph_assets.config import ExternalServers, read_external, read_folders, read_tenant

_FOLLOW_POLL_S = 0.1
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PortOption = Annotated[int | None, typer.Option(min=1, max=65535, help="Also open this port on 127.0.0.1.")]


def up(postgres_port: PortOption = None, redis_port: PortOption = None) -> None:
    """Start PostgreSQL and Valkey under $MORPH_HOME and return once they answer.

    With MORPH_DATABASE_URL, MORPH_REDIS_URL and MORPH_STORE_URL set, nothing is started: each server is asked whether
    it answers and is new enough.

    Example: morph up --postgres-port 5433
    """
    external = read_external()
    _check(external)
    if external.is_production:
        return
    from morph_assets.devservices.servers import Ports
    from morph_assets.usecases.prepare_dagster import prepare_dagster
    from morph_assets.usecases.start_platform import start_platform

    started_at, folders = time.monotonic(), read_folders()
    started = start_platform(folders, tenant=read_tenant(), ports=Ports(postgres_port, redis_port))
    prepare_dagster(folders)
    verb = "started" if started.was_started else "already running"
    print_line(f"PostgreSQL and Valkey {verb} in {time.monotonic() - started_at:.1f} s under {started.layout.home}")
    print_line('other shells: eval "$(morph env)"')


def down(purge: Annotated[bool, typer.Option("--purge", help="Delete all stored data too.")] = False) -> None:
    """Stop the embedded servers in order; sessions are ended, everything is flushed.

    Example: morph down --purge
    """
    from morph_assets.usecases.stop_platform import stop_platform

    folders = read_folders()
    was_running = stop_platform(folders, purge=purge)
    print_line("stopped" if was_running else "nothing was running")
    if purge:
        print_line(f"deleted {folders.home}")


def status(as_json: JsonOption = False) -> None:
    """Show what runs; exit status 1 unless everything is ready.

    Example: morph status --json
    """
    external = read_external()
    if external.is_production:
        _check(external)
        return
    from morph_assets.usecases.show_status import show_status

    folders = read_folders()
    services = show_status(folders.home)
    if as_json:
        print_json({"home": folders.home, "services": [dataclasses.asdict(service) for service in services]})
    else:
        columns = ("service", "state", "pid", "since", "restarts", "address")
        print_table(columns, [list(dataclasses.astuple(service)) for service in services], title=str(folders.home))
    if not all(service.is_ready for service in services):
        raise typer.Exit(1)


def logs(
    name: Annotated[str | None, typer.Argument(help="postgres, valkey, supervisor or initdb; all by default.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what is added.")] = False,
    lines: Annotated[int, typer.Option(min=0, help="How many of the last lines to show.")] = 40,
) -> None:
    """Show the last lines of the servers' logs.

    Example: morph logs postgres --follow
    """
    from morph_assets.usecases.read_logs import read_added, read_logs

    home = read_folders().home
    offsets: dict[Path, int] = {}
    for log in read_logs(home, name, lines=lines):
        offsets[log.path] = log.end
        for line in log.lines:
            print_line(f"{log.path.stem}: {line}")
    while follow:
        for path, end in offsets.items():
            added, offsets[path] = read_added(path, end)
            for line in added:
                print_line(f"{path.stem}: {line}")
        time.sleep(_FOLLOW_POLL_S)


def env() -> None:
    """Print shell commands that set the variables for Dagster and other programs.

    Example: eval "$(morph env)"
    """
    from morph_assets.usecases.read_environment import read_environment

    for name, value in read_environment(read_folders()).items():
        print_line(f"export {name}={shlex.quote(value)}")


def _check(external: ExternalServers) -> None:
    from morph_assets.usecases.check_servers import check_servers

    answers = check_servers(external)
    for answer in answers:
        if answer.usable:
            print_line(f"{answer.name} {answer.detail}")
        else:
            print_error(f"{answer.name}: {answer.detail}: {answer.advice}")
    if not all(answer.usable for answer in answers):
        raise typer.Exit(1)
