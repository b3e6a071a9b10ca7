"""Remembers which schema a data folder got, so that a warm start imports no migration tools.

The stamp covers the migrations' text and the data folder itself: another version, another folder, another stamp.
"""

import hashlib
import importlib.util
import json
from pathlib import Path

from morph_assets.devservices.layout import HomeLayout
from morph_kernels.durable_file import replace_file

_SUFFIXES = {".py", ".sql"}


def plan_stamp(layout: HomeLayout, tenant: str) -> str:
    """Return the stamp that this version of the schema gives a tenant in this data folder."""
    born = (layout.postgres_data / "PG_VERSION").stat()
    digest = hashlib.sha256(f"{tenant}\n{born.st_ino} {born.st_mtime_ns}\n".encode())
    folder = _registry_folder()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def read_stamp(layout: HomeLayout, tenant: str) -> str | None:
    """Return the tenant's stored stamp; None if there is none or the file is damaged."""
    return _read(layout).get(tenant)


def write_stamp(layout: HomeLayout, tenant: str, stamp: str) -> None:
    """Store the tenant's stamp."""
    replace_file(layout.schema_stamp, json.dumps(_read(layout) | {tenant: stamp}).encode())


def _read(layout: HomeLayout) -> dict[str, str]:
    try:
        document = json.loads(layout.schema_stamp.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _registry_folder() -> Path:
    spec = importlib.util.find_spec("morph_assets.registry")  # located, not imported: it brings SQLAlchemy
    if spec is None or spec.origin is None:
        raise FileNotFoundError("morph_assets.registry")
    return Path(spec.origin).parent
