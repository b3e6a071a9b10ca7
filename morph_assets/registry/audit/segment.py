"""Archived events: a segment is one zstd frame of RFC 8785 lines, one event each, in order and of one timeline.

A line is an object with exactly these members, sorted: `actor`, `claimed_actor` and `claimed_us` (null where nothing is
claimed), `event_id`, `hash` and `prev_hash` (hexadecimal), `payload` (the payload's own RFC 8785 text, as a string),
`recorded_us` (microseconds since 1970), `schema_version`, `seq`, `subject`, `tenant`, `timeline`, `type`.
"""

import json
from collections.abc import Sequence

import zstandard

from morph_assets.registry.audit.row import EventRow
from morph_kernels.artifact.document import MalformedError
from morph_kernels.canonical import canonical_bytes
from morph_kernels.reasons import Reason

MAX_SEGMENT_BYTES = 64 * 1024 * 1024
# The payload's quotes are escaped once more in a line, so a line is at most about twice as long.
_CUT_BYTES = 16 * 1024 * 1024
_BYTES = ("prev_hash", "hash")
_LEVEL = 3
_TYPES = {
    (str, int, int, str, str, str, int, str, int, claimed, claimed_us, str, str, str)
    for claimed in (str, type(None))
    for claimed_us in (int, type(None))
}


def encode_segment(rows: Sequence[EventRow]) -> bytes:
    """Return the stored form of some events."""
    lines = b"".join(_line(row) + b"\n" for row in rows)
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True).compress(lines)


def parse_segment(data: bytes, *, what: str) -> list[EventRow]:
    """Read a segment; whether its events' hashes hold is not asked here.

    Raises:
        MalformedError: it is or claims to be too large, is damaged, or holds what is no event.
    """
    *lines, rest = _decompress(data, what).split("\n")
    if not lines or rest:
        raise MalformedError(what, "does not end with an event's line")
    rows = [_parse_line(line, what) for line in lines]
    first = rows[0]
    for place, row in enumerate(rows):
        if (row.tenant, row.timeline, row.seq) != (first.tenant, first.timeline, first.seq + place):
            raise MalformedError(what, f"event {row.seq} is out of its place")
    return rows


def cut_segment(rows: Sequence[EventRow]) -> Sequence[EventRow]:
    """Return the first events, as many as one segment takes: of one timeline, and not too large to be read again."""
    size_bytes = 0
    for count, row in enumerate(rows):
        size_bytes += len(row.payload)
        if row.timeline != rows[0].timeline or (count and size_bytes > _CUT_BYTES):
            return rows[:count]
    return rows


def _line(row: EventRow) -> bytes:
    document = row._asdict() | {name: getattr(row, name).hex() for name in _BYTES}
    return canonical_bytes(document | {"payload": row.payload.decode("utf-8")})


def _parse_line(line: str, what: str) -> EventRow:
    try:
        document = json.loads(line)
        values = [document.pop(name) for name in EventRow._fields]
        if document or tuple(map(type, values)) not in _TYPES:
            raise MalformedError(what, "a line is not an event")
        values[-3:] = [values[-3].encode("utf-8"), bytes.fromhex(values[-2]), bytes.fromhex(values[-1])]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise MalformedError(what, f"a line is not an event: {type(error).__name__}") from error
    return EventRow(*values)


def _decompress(data: bytes, what: str) -> str:
    try:
        claimed = zstandard.get_frame_parameters(data).content_size
        if claimed in {zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR} or claimed > MAX_SEGMENT_BYTES:
            raise MalformedError(what, "claims to be too large", reason=Reason.TOO_LARGE)
        content = zstandard.ZstdDecompressor().decompress(data, max_output_size=claimed, allow_extra_data=False)
        return content.decode("utf-8")
    except (zstandard.ZstdError, UnicodeDecodeError) as error:
        raise MalformedError(what, "the zstd frame is damaged") from error
