"""What can go wrong with a backup, each as one line that says what to do."""

from pathlib import Path

from morph_kernels.errors import MorphError


class BackupError(MorphError):
    """A backup cannot be made or used."""


class BackupDamagedError(BackupError):
    """The folder is no whole backup, or its bytes are not those that were written. Nothing was restored."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}: restore another backup")


class PlaceTakenError(BackupError):
    """Something stands where a backup or a restored platform would go; it stays as it is."""

    def __init__(self, place: Path | str, advice: str) -> None:
        super().__init__(f"{place} is not empty: {advice}")


class DumpFailedError(BackupError):
    """PostgreSQL's own program failed; the message is its own last words."""

    def __init__(self, program: str, database: str, problem: str) -> None:
        super().__init__(f"{program} of database {database} failed: {problem}")
