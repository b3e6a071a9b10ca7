"""What a restored registry needs before anybody may use it: the proof that it is the one saved, and a new timeline."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import args_row
from psycopg.types.json import Jsonb

from morph_assets.registry.audit.chain import ROW_COLUMNS
from morph_assets.registry.audit.row import GENESIS, EventRow, expected_hash
from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import InvalidRecordError, registry_error
from morph_assets.registry.events import ChainHead
from morph_assets.registry.migrate import OWNER

LAST_TIMELINE = 4095
_PAGE = 2000


def find_break(admin_url: str, tenant: str, head: ChainHead) -> int | None:
    """Return the first event at which the tenant's chain is not the one that ended in `head`, or None.

    Every hash is computed here, from the first event on.

    Raises:
        RegistryError: the database does not answer, or refuses the login.
    """
    at = ChainHead(0, GENESIS)
    try:
        with open_as_owner(admin_url) as connection:
            for event in _iter_events(connection, tenant, head.seq):
                if event.seq != at.seq + 1 or event.prev_hash != at.hash or event.hash != expected_hash(event):
                    return at.seq + 1
                at = ChainHead(event.seq, event.hash)
    except psycopg.Error as error:
        raise registry_error(error) from error
    if at.seq != head.seq:
        return at.seq + 1
    return None if at.hash == head.hash else head.seq


def start_timeline(admin_url: str, timeline: int, *, saved_at: datetime) -> None:
    """Begin a later timeline, told in each tenant's chain: whatever was handed out before is over.

    Lease epochs and index generations given out from now on are above all earlier ones; leases are free at once, and
    every index counts as not published.

    Raises:
        InvalidRecordError: the timeline is not after the present one, or there are no more.
        RegistryError: the database does not answer, or refuses the login.
    """
    facts = {"timeline": timeline, "reason": "restored", "saved_at": saved_at.isoformat()}
    try:
        with open_as_owner(admin_url) as connection:
            (present,) = connection.execute("SELECT max(timeline) FROM morph.timeline").fetchone() or (0,)
            if not present < timeline <= LAST_TIMELINE:
                raise InvalidRecordError(f"timeline {timeline} is not between {present + 1} and {LAST_TIMELINE}")
            connection.execute("INSERT INTO morph.timeline (timeline, reason) VALUES (%s, 'restored')", (timeline,))
            connection.execute("UPDATE morph.lease SET expires_at = '-infinity'")
            connection.execute(
                "UPDATE morph.index_generation SET published_generation = 0, published_seq = 0, published_at = NULL"
            )
            for (tenant,) in connection.execute("SELECT tenant FROM morph.tenant ORDER BY tenant").fetchall():
                connection.execute(
                    "SELECT morph.append_event_for(%s, 'timeline.started', %s, %s)",
                    (tenant, f"timeline/{timeline}", Jsonb(facts)),
                )
    except psycopg.Error as error:
        raise registry_error(error) from error


def open_as_owner(admin_url: str) -> psycopg.Connection[Any]:
    """Open a transaction that acts as the schema's owner, however long it takes between two statements."""
    connection = psycopg.connect(admin_url, connect_timeout=CONNECT_TIMEOUT_S)
    try:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    except psycopg.Error:
        connection.close()
        raise
    return connection


def _iter_events(connection: psycopg.Connection[Any], tenant: str, up_to: int) -> Iterator[EventRow]:
    after = 0
    while True:
        with connection.cursor(row_factory=args_row(EventRow)) as cursor:
            page = cursor.execute(
                ROW_COLUMNS + "morph.event WHERE tenant = %s AND seq > %s AND seq <= %s ORDER BY seq LIMIT %s",
                (tenant, after, up_to, _PAGE),
                binary=True,
            ).fetchall()
        if not page:
            return
        yield from page
        after = page[-1].seq
