"""Finds what an operator works with: both databases whole, the object store, and who is trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from morph_assets.config import (
    DAGSTER_DATABASE_VARIABLE,
    PlatformFolders,
    plain_database_url,
    read_dagster_database,
    read_external,
    read_operator_database,
)
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.launch import BOOTSTRAP_SECRET, living_state
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.postgres import DAGSTER_DATABASE, DAGSTER_LOGIN, MORPH_DATABASE, database_url
from morph_assets.devservices.servers import Ports
from morph_assets.usecases.start_platform import DAGSTER_SECRET, admin_url, read_home_passwords
from morph_kernels.settings import read_endpoints


@dataclass(frozen=True)
class OperatorAccess:
    """URLs hold passwords. `keys_dir` may be missing on disk: the keys can stand elsewhere."""

    morph_url: str = field(repr=False)
    dagster_url: str = field(repr=False)
    store_url: str = field(repr=False)
    trust_file: Path | None
    keys_dir: Path


def find_operator_access(folders: PlatformFolders) -> OperatorAccess:
    """Return the access to the environment's production servers, or to the embedded ones, which must run.

    Raises:
        ServicesError: the servers do not run, or a URL is missing; the message says what to do.
    """
    if read_external().is_production:
        return _production(folders)
    layout = HomeLayout(folders.home)
    return embedded_access(layout, _living_ports(layout), keys_dir=folders.keys_dir)


def find_operator_database(folders: PlatformFolders) -> str:
    """Return the URL of the registry's operator: the one that the environment names, or the embedded server's.

    Raises:
        ServicesError: none is named, and the embedded servers do not run.
    """
    named = read_operator_database()
    if named is not None:
        return named
    layout = HomeLayout(folders.home)
    return _embedded_database(layout, _living_ports(layout), read_home_passwords(layout))


def embedded_access(layout: HomeLayout, ports: Ports, *, keys_dir: Path) -> OperatorAccess:
    """Return the access to the running servers of a home."""
    passwords = read_home_passwords(layout)
    return OperatorAccess(
        morph_url=_embedded_database(layout, ports, passwords),
        dagster_url=database_url(
            layout,
            port=ports.postgres_socket_port,
            login=DAGSTER_LOGIN,
            password=passwords[DAGSTER_SECRET],
            database=DAGSTER_DATABASE,
        ),
        store_url=layout.objects.as_uri(),
        trust_file=layout.trust_file,
        keys_dir=keys_dir,
    )


def _living_ports(layout: HomeLayout) -> Ports:
    state = living_state(layout)
    if state is None:
        raise ServicesError(f"no servers run under {layout.home}: `morph up` first")
    return state.ports


def _embedded_database(layout: HomeLayout, ports: Ports, passwords: Mapping[str, str]) -> str:
    return admin_url(layout, ports, password=passwords[BOOTSTRAP_SECRET], database=MORPH_DATABASE)


def _production(folders: PlatformFolders) -> OperatorAccess:
    morph, dagster, endpoints = read_operator_database(), read_dagster_database(), read_endpoints()
    if dagster is None:
        raise ServicesError(f"{DAGSTER_DATABASE_VARIABLE} is not set: name Dagster's own database")
    if morph is None or endpoints.store_url is None:
        # `read_external` has seen both; somebody changed the environment since.
        raise ServicesError("MORPH_DATABASE_URL and MORPH_STORE_URL name the production servers: set both")
    return OperatorAccess(
        morph_url=morph,
        dagster_url=plain_database_url(dagster),
        store_url=endpoints.store_url,
        trust_file=endpoints.trust_file,
        keys_dir=folders.keys_dir,
    )
