"""The generated passwords of one home, made once and kept 0600."""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from morph_assets.devservices.errors import ServicesError
from morph_kernels.durable_file import replace_file

_FORMAT = 1


def read_passwords(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Return a password for every name; missing ones are made and stored first.

    Raises:
        ServicesError: the file is there but is not one of ours; it is never overwritten, the servers' data needs it.
    """
    stored = _read(path)
    made = {name: secrets.token_urlsafe(24) for name in names if name not in stored}
    if made:
        stored |= made
        replace_file(path, json.dumps({"format": _FORMAT, "passwords": stored}, indent=1).encode())
    return stored


def _read(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error
    passwords = document.get("passwords") if isinstance(document, dict) and document.get("format") == _FORMAT else None
    if not isinstance(passwords, dict) or not all(isinstance(value, str) for value in passwords.values()):
        raise _unreadable(path)
    return dict(passwords)


def _unreadable(path: Path) -> ServicesError:
    return ServicesError(
        f"{path} is damaged and the data cannot be opened without it: restore it, or `morph down --purge` to start anew"
    )
