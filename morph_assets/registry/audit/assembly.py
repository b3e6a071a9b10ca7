"""A log put together again from its archived segments."""

from collections.abc import Iterable

from morph_assets.registry.audit.row import GENESIS, EventRow, expected_hash
from morph_assets.registry.errors import RegistryError


class ArchiveBrokenError(RegistryError):
    """The archived segments are no unbroken chain; the message names the first event missing or changed."""


def assemble_log(segments: Iterable[list[EventRow]]) -> list[EventRow]:
    """Return the events of the segments, in order, every hash recomputed; segments come by timeline and first event.

    Where a later timeline begins, what an earlier one told from there on was given up by a restore.

    Raises:
        ArchiveBrokenError: an event is missing, or is not the one that the next one's hash covers.
    """
    log: list[EventRow] = []
    for segment in segments:
        first = segment[0]
        if log and first.timeline > log[-1].timeline:
            del log[first.seq - 1 :]
        for row in segment:
            before = log[-1].hash if log else GENESIS
            if row.seq != len(log) + 1 or row.prev_hash != before or row.hash != expected_hash(row):
                raise ArchiveBrokenError(
                    f"the archive of {row.tenant} breaks at event {min(row.seq, len(log) + 1)}: restore a backup"
                )
            log.append(row)
    return log
