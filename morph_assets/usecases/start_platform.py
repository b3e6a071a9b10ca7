"""Brings the embedded platform up: servers, databases, schema, logins, keys, and the file that says where they are."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from morph_assets.config import ROLES, PlatformFolders
from morph_assets.devservices.endpoints_file import (
    dagster_database_url,
    redis_url,
    tenant_database_urls,
    write_endpoints,
)
from morph_assets.devservices.env_file import ENV_FILE_NAME, write_env_block
from morph_assets.devservices.errors import ServerGoneError
from morph_assets.devservices.home import fill_home, make_home, require_supported_platform, this_platform
from morph_assets.devservices.launch import (
    BOOTSTRAP_SECRET,
    ensure_running,
    find_supervisor,
    living_state,
)
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.locks import exclusive
from morph_assets.devservices.passwords import read_passwords
from morph_assets.devservices.postgres import BOOTSTRAP_LOGIN, MORPH_DATABASE, database_url, ensure_databases
from morph_assets.devservices.schema_stamp import plan_stamp, read_stamp, write_stamp
from morph_assets.devservices.servers import POSTGRES, Ports
from morph_assets.devservices.valkey_users import REDIS_SECRET, user_secret
from morph_assets.redis_access import REDIS_ROLES, redis_user
from morph_assets.usecases.read_environment import read_environment
from morph_kernels.artifact.trust import Role, create_trust, key_path
from morph_kernels.identity import parse_name

DAGSTER_SECRET = "dagster"  # noqa: S105  # the name of a secret
LOCK_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 60.0
_ATTEMPTS = 3


@dataclass(frozen=True)
class StartedPlatform:
    """What `start_platform` found or made."""

    layout: HomeLayout
    ports: Ports
    was_started: bool


def start_platform(folders: PlatformFolders, *, tenant: str, ports: Ports = Ports()) -> StartedPlatform:  # noqa: B008  # frozen
    """Start what does not run, make what is missing, and return once everything answers; again: nothing changes.

    Raises:
        ServicesError: something is in the way; the message says what to do.
        InvalidNameError: the tenant's name is not a name; nothing was made.
    """
    parse_name(tenant, what="tenant")
    require_supported_platform(this_platform())
    layout = make_home(folders.home)
    with exclusive(layout.home, timeout_s=LOCK_TIMEOUT_S):
        fill_home(layout)
        passwords = read_home_passwords(layout, *_tenant_secrets(tenant))
        was_started, running = start_servers(layout, ports, passwords, meanwhile=lambda: _prepare_first_start(layout))
        _ensure_schema(layout, running, tenant, passwords)
        _ensure_trust(layout)
        _write_endpoints(layout, folders, running, tenant, passwords)
        write_env_block(folders.project / ENV_FILE_NAME, read_environment(folders))
    return StartedPlatform(layout=layout, ports=running, was_started=was_started)


def admin_url(layout: HomeLayout, ports: Ports, *, password: str, database: str) -> str:
    """Return the URL of the bootstrap superuser, which no application uses."""
    return database_url(
        layout, port=ports.postgres_socket_port, login=BOOTSTRAP_LOGIN, password=password, database=database
    )


def read_home_passwords(layout: HomeLayout, *more: str) -> dict[str, str]:
    """Return the passwords of the servers themselves, and those named; missing ones are made.

    Raises:
        ServicesError: the file is damaged.
    """
    return read_passwords(layout.secrets_file, (BOOTSTRAP_SECRET, REDIS_SECRET, DAGSTER_SECRET, *more))


def start_servers(
    layout: HomeLayout, ports: Ports, passwords: dict[str, str], *, meanwhile: Callable[[], object]
) -> tuple[bool, Ports]:
    """Start the servers with two databases, empty when new, as the holder of the home's lock; return the ports open.

    Once more if somebody kills them in between. A first start calls `meanwhile` while it waits for initdb.

    Raises:
        ServicesError: something is in the way; the message says what to do.
    """
    was_started = False
    for attempt in range(_ATTEMPTS):
        was_started |= ensure_running(layout, ports, passwords, meanwhile=meanwhile)
        state = living_state(layout)
        running = ports if state is None else state.ports
        try:
            _prepare_databases(layout, running, passwords)
        except ServerGoneError:
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        break
    return was_started, running


def _prepare_first_start(layout: HomeLayout) -> None:
    _ensure_trust(layout)
    import_module("morph_assets.registry.tenants")  # half a second of imports that are needed in a moment


def _ensure_trust(layout: HomeLayout) -> None:
    # A later version knows roles that an earlier one made no key for; only the root may speak for them.
    missing = {role for role in Role if not key_path(layout.trust_dir, role).exists()}
    if not layout.trust_file.exists() or (missing and Role.ROOT not in missing):
        create_trust(layout.trust_dir)


def _prepare_databases(layout: HomeLayout, ports: Ports, passwords: dict[str, str]) -> None:
    ensure_databases(
        admin_url(layout, ports, password=passwords[BOOTSTRAP_SECRET], database="postgres"),
        dagster_password=passwords[DAGSTER_SECRET],
        log=layout.log_file(POSTGRES),
        timeout_s=_ANSWER_TIMEOUT_S,
        is_supervised=lambda: find_supervisor(layout) is not None,
    )


def _ensure_schema(layout: HomeLayout, ports: Ports, tenant: str, passwords: dict[str, str]) -> None:
    """Migrate and make the tenant's logins, unless this very data folder has them from this version of the schema."""
    stamp = plan_stamp(layout, tenant)
    if read_stamp(layout, tenant) == stamp:
        return
    from morph_assets.registry.migrate import migrate
    from morph_assets.registry.tenants import create_tenant

    url = admin_url(layout, ports, password=passwords[BOOTSTRAP_SECRET], database=MORPH_DATABASE)
    migrate(url)
    create_tenant(url, tenant, {role: passwords[_role_secret(tenant, role)] for role in ROLES})
    write_stamp(layout, tenant, stamp)


def _write_endpoints(
    layout: HomeLayout, folders: PlatformFolders, ports: Ports, tenant: str, passwords: dict[str, str]
) -> None:
    port = ports.postgres_socket_port
    roles = {role: passwords[_role_secret(tenant, role)] for role in ROLES}
    write_endpoints(
        layout,
        store_url=None,
        redis_urls={
            role: redis_url(layout, user=redis_user(tenant, role), password=passwords[user_secret(tenant, role)])
            for role in REDIS_ROLES
        },
        database_urls=tenant_database_urls(layout, port=port, tenant=tenant, passwords=roles),
        dagster_database=dagster_database_url(layout, port=port, password=passwords[DAGSTER_SECRET]),
        keys_dir=folders.keys_dir,
    )


def _tenant_secrets(tenant: str) -> list[str]:
    return [_role_secret(tenant, role) for role in ROLES] + [user_secret(tenant, role) for role in REDIS_ROLES]


def _role_secret(tenant: str, role: str) -> str:
    return f"{tenant}:{role}"
