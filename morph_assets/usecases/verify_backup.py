"""Proves that a backup is whole: every byte is the one that was saved."""

from pathlib import Path

from morph_assets.archive.errors import BackupDamagedError
from morph_assets.archive.folder import measure_file
from morph_assets.archive.manifest import OBJECTS_FOLDER, BackupManifest, FileFacts, read_manifest
from morph_assets.archive.objects import iter_saved
from morph_assets.progress import Progress


def verify_backup(folder: Path, progress: Progress) -> BackupManifest:
    """Read the whole backup and return its manifest.

    Raises:
        BackupDamagedError: the manifest or a file is missing, or a file is not what the manifest says.
    """
    manifest = read_manifest(folder)
    with progress("verifying the backup", total=len(manifest.files) + manifest.object_count) as advance:
        for name, facts in manifest.files.items():
            _require(folder / name, facts)
            advance(1)
        for saved in iter_saved(folder):
            _require(folder / OBJECTS_FOLDER / saved.key, saved.facts)
            advance(1)
    return manifest


def _require(path: Path, facts: FileFacts) -> None:
    try:
        found = measure_file(path)
    except OSError as error:
        raise BackupDamagedError(path, f"cannot be read ({error.strerror})") from error
    if found != facts:
        raise BackupDamagedError(path, "its bytes are not those that were saved")
