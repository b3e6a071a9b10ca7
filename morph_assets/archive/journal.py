"""Which timelines were begun from the backups of a folder, so that none is begun twice.

Two restores of one backup must not hand out the same lease epochs and index generations. Each restore therefore
writes its timeline into the backup that it came from, and begins one above all that stand in the backups beside it.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from morph_assets.archive.errors import BackupDamagedError, BackupError
from morph_assets.archive.manifest import MANIFEST_NAME, read_manifest
from morph_kernels.artifact.document import Fields, MalformedError, format_time, parse_document
from morph_kernels.canonical import canonical_bytes
from morph_kernels.durable_file import replace_file
from morph_kernels.folder_lock import hold_folder

JOURNAL_NAME = "restores.json"
_FORMAT = 1
_MAX_BYTES = 1024**2


def claim_timeline(backup: Path, *, above: int) -> int:
    """Return the next timeline and write it down; of any number of restores at once, each gets its own.

    Args:
        backup: the folder of the backup.
        above: the highest timeline known from elsewhere.

    Raises:
        BackupDamagedError: a journal cannot be read.
        BackupError: the backup's folder cannot be written.
    """
    with hold_folder(backup.parent):
        beside = [path.parent for path in backup.parent.glob(f"*/{MANIFEST_NAME}")]
        timeline = 1 + max([above, *(_highest(folder) for folder in beside)])
        _write(backup / JOURNAL_NAME, [*_read(backup / JOURNAL_NAME), (datetime.now(UTC), timeline)])
    return timeline


def _highest(folder: Path) -> int:
    try:
        saved = read_manifest(folder).timeline
    except BackupDamagedError:
        saved = 0  # somebody else's folder, or a backup that nobody can restore any more
    return max([saved, *(timeline for _, timeline in _read(folder / JOURNAL_NAME))])


def _read(path: Path) -> list[tuple[datetime, int]]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        fields = Fields(parse_document(data, what="journal", max_bytes=_MAX_BYTES), what="journal")
        fields.equal("format", _FORMAT)
        begun = fields.items("restores", _read_one)
        fields.close()
    except FileNotFoundError:
        return []
    except (MalformedError, OSError) as error:
        raise BackupDamagedError(path, str(error)) from error
    return list(begun)


def _read_one(document: Any) -> tuple[datetime, int]:
    fields = Fields(document, what="journal.restores")
    one = fields.time("restored_at"), fields.integer("timeline", low=1)
    fields.close()
    return one


def _write(path: Path, begun: list[tuple[datetime, int]]) -> None:
    restores = [{"restored_at": format_time(moment), "timeline": timeline} for moment, timeline in begun]
    try:
        replace_file(path, canonical_bytes({"format": _FORMAT, "restores": restores}))
    except OSError as error:
        raise BackupError(
            f"{path} cannot be written ({error.strerror}): copy the backup to a folder of your own, or give a "
            "--timeline above every one that was restored from this platform's backups"
        ) from error
