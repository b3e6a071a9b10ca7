"""A tenant's chains as they stand in the database, read page by page and hashed here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

from psycopg.rows import args_row

from morph_assets.registry.audit.row import GENESIS, EventRow, expected_hash
from morph_assets.registry.connection import Registry
from morph_assets.registry.events import LOG, Chain, ChainHead, chain_head

# A page is one short statement: a log does not fit in memory, and one long statement would meet its time limit.
_PAGE = 5000
# Of `EventRow`, in its order.
ROW_COLUMNS: LiteralString = """
    SELECT tenant::text, seq, timeline, event_id::text, type, subject, schema_version, actor,
           (extract(epoch FROM recorded_at) * 1000000)::bigint, claimed_actor,
           (extract(epoch FROM claimed_at) * 1000000)::bigint, payload, prev_hash, hash
    FROM """
_STATE: LiteralString = """
    SELECT coalesce(h.seq, 0), coalesce(h.hash, decode(repeat('00', 32), 'hex')), morph.current_timeline(),
           (SELECT coalesce(max(seq), 0) FROM """
_MAX: LiteralString = "SELECT max(seq) FROM "
_MIN: LiteralString = "SELECT min(seq) FROM "


def iter_pages(registry: Registry, chain: Chain, *, after: int, up_to: int) -> Iterator[list[EventRow]]:
    """Yield the events behind `after`, up to and with `up_to`, in order."""
    while after < up_to:
        page = read_rows(registry, chain, after=after, up_to=up_to, limit=_PAGE)
        if not page:
            return
        yield page
        after = page[-1].seq


def read_rows(registry: Registry, chain: Chain, *, after: int, up_to: int, limit: int) -> list[EventRow]:
    """Return at most `limit` events behind `after`, up to and with `up_to`, in order."""
    return registry.fetch_rows(
        args_row(EventRow),
        ROW_COLUMNS + chain.events + " WHERE seq > %s AND seq <= %s ORDER BY tenant, seq LIMIT %s",
        (after, up_to, limit),
        binary=True,
    )


@dataclass(frozen=True)
class ChainState:
    """A chain's head and its last event at one moment: the two must agree. The timeline is the present one."""

    head: ChainHead
    last_seq: int
    timeline: int


def read_state(registry: Registry, chain: Chain) -> ChainState:
    """Return where the chain stands, in one snapshot."""
    query = _STATE + chain.events + ") FROM (SELECT 1) one LEFT JOIN " + chain.heads + " h ON true"
    seq, digest, timeline, last = registry.call(query)
    return ChainState(ChainHead(seq, digest), last, timeline)


def find_seq(registry: Registry, chain: Chain, *, event_id: str) -> int | None:
    """Return where the event with the id stands."""
    (seq,) = registry.call(_MAX + chain.events + " WHERE event_id = %s::uuid", (event_id,))
    return None if seq is None else int(seq)


def find_successor(registry: Registry, chain: Chain, *, prev_hash: bytes, other_than: int) -> int | None:
    """Return where another event stands that names the hash as the one before it; reads the whole chain."""
    (seq,) = registry.call(_MIN + chain.events + " WHERE prev_hash = %s AND seq <> %s", (prev_hash, other_than))
    return None if seq is None else int(seq)


def verify_chain(registry: Registry, *, after: ChainHead | None = None, chain: Chain = LOG) -> int | None:
    """Return the first sequence number where the chain does not hold, or None; computed here, not by the database.

    `after` is a head known from outside: verification starts behind it, and proves that the log still contains it.
    """
    head = chain_head(registry, chain)
    seq, digest = (0, GENESIS) if after is None else (after.seq, after.hash)
    for page in iter_pages(registry, chain, after=seq, up_to=head.seq):
        for row in page:
            if row.seq != seq + 1 or row.prev_hash != digest or row.hash != expected_hash(row):
                return min(row.seq, seq + 1)
            seq, digest = row.seq, row.hash
    if seq != head.seq or digest != head.hash:
        return seq + 1 if seq < head.seq else head.seq
    return None
