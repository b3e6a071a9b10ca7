"""Valkey's users of one home: its administrator, and two for each of its tenants, from the home's passwords."""

import os
import socket
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Final

from morph_assets.devservices.errors import ServerFailedError, ServicesError
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.servers import VALKEY
from morph_assets.redis_access import REDIS_ROLES, RedisRole, redis_rules
from morph_kernels.durable_file import replace_file

ADMINISTRATOR: Final = "default"
REDIS_SECRET: Final = "redis"  # noqa: S105  # the name of a secret: the administrator's
_TIMEOUT_S = 5.0


def user_secret(tenant: str, role: RedisRole) -> str:
    """Return the name of the password of a tenant's user."""
    return f"{REDIS_SECRET}:{tenant}:{role}"


def users_text(passwords: Mapping[str, str]) -> str:
    """Return Valkey's file of users: the administrator, and those of every tenant that has passwords."""
    secret = sha256(passwords[REDIS_SECRET].encode()).hexdigest()
    administrator = f"user {ADMINISTRATOR} on #{secret} ~* &* +@all"
    tenants = [redis_rules(tenant, role, password=password) for tenant, role, password in _tenants(passwords)]
    return "\n".join([administrator, *sorted(tenants), ""])


def write_users(layout: HomeLayout, passwords: Mapping[str, str]) -> None:
    """Replace the file of users; it belongs to whom the folder belongs, which is the server's identity."""
    replace_file(layout.valkey_users, users_text(passwords).encode())
    owner = layout.run.stat().st_uid
    if layout.valkey_users.stat().st_uid != owner:
        os.chown(layout.valkey_users, owner, owner)


def load_users(layout: HomeLayout, *, password: str) -> bool:
    """Have the running server read its file of users; False if it went away: the next one reads it as it starts.

    Connections of users that stay as they are stay too.

    Raises:
        ServicesError: the server does not take the file, or does not answer.
    """
    # By hand: the client library takes longer to import than everything else that a warm start does.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(str(layout.redis_socket))
            connection.sendall(f"AUTH {password}\r\nACL LOAD\r\n".encode())
            with connection.makefile("rb") as answers:
                said = [answers.readline().decode(errors="replace").strip() for _ in range(2)]
        except TimeoutError as error:
            raise ServerFailedError(VALKEY, "does not answer", layout.log_file(VALKEY)) from error
        except OSError:
            return False
    refused = next((line for line in said if line.startswith("-")), None)
    if refused is not None:
        raise ServicesError(f"valkey runs with other users ({refused[1:]}): `morph down` first")
    return said == ["+OK", "+OK"]


def _tenants(passwords: Mapping[str, str]) -> Iterator[tuple[str, RedisRole, str]]:
    for name, password in passwords.items():
        match name.split(":"):
            case [first, tenant, role] if first == REDIS_SECRET:
                yield from ((tenant, known, password) for known in REDIS_ROLES if known == role)
