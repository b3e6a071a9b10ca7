"""A tenant's rows written anew from its log: what the tables of a lost database held."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from morph_assets.registry.errors import RegistryError, registry_error
from morph_assets.registry.events import EVENT_COLUMNS, LOG, SECURITY, Chain, EventRecord
from morph_assets.registry.microseconds import from_us
from morph_assets.registry.replay.imports import bodies_of
from morph_assets.registry.replay.state import ReplayedState, Row, fold
from morph_assets.registry.replay.tables import REPLAYED_TABLES, ReplayedTable, iter_differences
from morph_assets.registry.timelines import open_as_owner

# What a tenant has before anybody used it.
_FIRST_EVENTS: Final = frozenset(
    {"tenant.created", "tenant.described", "member.added", "quota.added", "quota.changed", "timeline.started"}
)
# Rows that `morph up` makes before a rebuild can begin: they may be there already.
_MADE_BEFORE: Final = frozenset({"tenant", "tenant_member", "quota"})
# Of a row that no transaction here may claim to have made.
_NO_TRANSACTION: Final = "0"


class NotEmptyError(RegistryError):
    """The registry has a history of its own: a rebuild would mix two. Nothing was changed."""


@dataclass(frozen=True)
class Rebuilt:
    """How many archived events were repeated, and how many rows they make."""

    events: int
    rows: int


@contextmanager
def open_rebuild(admin_url: str, tenant: str, body: Callable[[str], bytes]) -> Iterator["Rebuild"]:
    """Open the one transaction of a rebuild; it commits on leaving, and not at all if anything is raised.

    Raises:
        RegistryError: the database does not answer, or refuses the login.
    """
    try:
        with open_as_owner(admin_url) as connection:
            yield Rebuild(connection, tenant, body)
    except psycopg.Error as error:
        raise registry_error(error) from error


class Rebuild:
    """One tenant's rebuild inside one transaction of the schema's owner: `begin`, any number of appends, `finish`.

    The tables' own triggers are off meanwhile, their foreign keys and checks are not.
    """

    def __init__(self, connection: psycopg.Connection[Any], tenant: str, body: Callable[[str], bytes]) -> None:
        """Work on a connection that acts as the owner; `body` returns the bytes of a digest, verified."""
        self._connection = connection
        self._body = body
        self._moments: dict[int, datetime] = {}
        self._opened: tuple[str, Mapping[str, bytes]] = ("", {})
        self.state = ReplayedState(tenant, body)

    def begin(self, log: Sequence[EventRecord], refusals: Sequence[EventRecord] = ()) -> None:
        """Write the events of both chains, and repeat those of the log.

        Raises:
            NotEmptyError: the tenant has a history already.
            RegistryError: the log leaves something out, or tells of what this version does not know.
        """
        self._require_untouched()
        for table in self._tables():
            self._connection.execute(sql.SQL("ALTER TABLE morph.{} DISABLE TRIGGER USER").format(sql.Identifier(table)))
        for chain, events in ((LOG, log), (SECURITY, refusals)):
            self._replace_chain(chain, events)
        self._repeat(log)

    def start_timeline(self, timeline: int) -> None:
        """Begin a later timeline: whatever was handed out before is over."""
        self._connection.execute(
            "INSERT INTO morph.timeline (timeline, reason) VALUES (%s, 'rebuilt') ON CONFLICT DO NOTHING", (timeline,)
        )
        self.append("timeline.started", f"timeline/{timeline}", {"timeline": timeline, "reason": "rebuilt"})

    def append(self, kind: str, subject: str, facts: Mapping[str, Any]) -> None:
        """Append an event that the log lost, and repeat it too."""
        self._connection.execute(
            "SELECT morph.append_event_for(%s, %s, %s, %s)", (self.state.tenant, kind, subject, Jsonb(dict(facts)))
        )
        with self._connection.cursor(row_factory=psycopg.rows.class_row(EventRecord)) as cursor:
            self._repeat(
                cursor.execute(
                    EVENT_COLUMNS + "morph.event WHERE tenant = %s AND seq > %s ORDER BY seq",
                    (self.state.tenant, self.state.seq),
                ).fetchall()
            )

    def finish(self) -> Rebuilt:
        """Write the rows, count the quotas anew, and compare everything with the log once more.

        Raises:
            RegistryError: a row does not fit, or a body is missing; roll the transaction back.
        """
        self._tell_of_newcomers()
        for table, spec in REPLAYED_TABLES.items():
            self._insert_rows(table, spec)
        self._recount()
        for difference in iter_differences(self._connection, self.state):
            raise RegistryError(f"the rebuilt {difference.table} {difference.key} is not what the log tells")
        self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in self._tables():
            self._connection.execute(sql.SQL("ALTER TABLE morph.{} ENABLE TRIGGER USER").format(sql.Identifier(table)))
        return Rebuilt(self.state.seq, sum(len(rows) for rows in self.state.tables.values()))

    def _require_untouched(self) -> None:
        row = self._connection.execute(
            "SELECT count(*) FROM morph.event WHERE tenant = %s AND type <> ALL (%s)",
            (self.state.tenant, list(_FIRST_EVENTS)),
        ).fetchone()
        if row != (0,):
            raise NotEmptyError(f"tenant {self.state.tenant} has a history here: rebuild into an empty registry")

    def _tell_of_newcomers(self) -> None:
        """Append an event for each login and limit that is here, but was not when the log was written."""
        tenant = (self.state.tenant,)
        members = self._connection.execute(
            "SELECT login::text, role FROM morph.tenant_member WHERE tenant = %s", tenant
        )
        for login, role in members.fetchall():
            if (login,) not in self.state.tables["tenant_member"]:
                self.append("member.added", f"tenant/{self.state.tenant}", {"login": login, "role": role})
        limits = self._connection.execute("SELECT resource, hard_limit FROM morph.quota WHERE tenant = %s", tenant)
        for resource, limit in limits.fetchall():
            if (resource,) not in self.state.tables["quota"]:
                self.append("quota.added", f"tenant/{self.state.tenant}", {"resource": resource, "limit": limit})

    def _repeat(self, events: Sequence[EventRecord]) -> None:
        self._moments.update((event.seq, event.recorded_at) for event in events)
        fold(self.state, events)

    def _replace_chain(self, chain: Chain, events: Sequence[EventRecord]) -> None:
        tenant = self.state.tenant
        self._connection.execute(sql.SQL("DELETE FROM {} WHERE tenant = %s").format(sql.SQL(chain.events)), (tenant,))
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO morph.timeline (timeline, reason) VALUES (%s, 'rebuilt') ON CONFLICT DO NOTHING",
                [(timeline,) for timeline in sorted({event.timeline for event in events})],
            )
            columns = [field.name for field in fields(EventRecord)]
            own = {"txid": _NO_TRANSACTION} if chain is LOG else {}
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.SQL(chain.events), sql.SQL(", ").join(map(sql.Identifier, [*columns, *own]))
            )
            with cursor.copy(statement) as copy:
                for event in events:
                    copy.write_row([*(getattr(event, column) for column in columns), *own.values()])
        if events:
            self._connection.execute(
                sql.SQL("UPDATE {} SET seq = %s, hash = %s WHERE tenant = %s").format(sql.SQL(chain.heads)),
                (events[-1].seq, events[-1].hash, tenant),
            )
            self._connection.execute(
                """INSERT INTO morph.relay AS r (tenant, relay, seq) VALUES (%s, %s, %s)
                   ON CONFLICT (tenant, relay) DO UPDATE SET seq = excluded.seq, row_version = r.row_version + 1""",
                (tenant, chain.relay, events[-1].seq),
            )

    def _insert_rows(self, table: LiteralString, spec: ReplayedTable) -> None:
        columns = _columns(table, spec)
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        rows = ([_stored(row[name]) for name in columns] for row in self._iter_rows(table, spec))
        if table in _MADE_BEFORE:
            insert = sql.SQL("INSERT INTO morph.{} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
                sql.Identifier(table),
                names,
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
                sql.SQL(", ").join(map(sql.Identifier, _KEYS.get(table, spec.key))),
                sql.SQL(", ").join(
                    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in spec.columns
                ),
            )
            self._connection.cursor().executemany(insert, rows)
            return
        statement = sql.SQL("COPY morph.{} ({}) FROM STDIN").format(sql.Identifier(table), names)
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def _iter_rows(self, table: LiteralString, spec: ReplayedTable) -> Iterator[Row]:
        derived = _DERIVED.get(table)
        for key, told in self.state.tables[table].items():
            row = {"tenant": self.state.tenant, **dict(zip(spec.key, key, strict=True)), **told}
            born, changed = self.state.moments[table, key]
            row.update(dict.fromkeys(spec.born, self._moments[born]))
            row.update(dict.fromkeys(spec.changed, self._moments[changed]))
            for column, digest in spec.bodies.items():
                body = self._read(row[digest])
                row[column] = body.decode() if column in _TEXT_BODIES else body
            if derived is not None:
                row[derived.column] = derived.of(row)
            yield row

    def _read(self, digest: str) -> bytes:
        """Return a body: out of the manifest that it came with, of which the last one stays open, or by itself."""
        manifest = self.state.inside.get(digest)
        if manifest is None:
            return self._body(digest)
        if self._opened[0] != manifest:
            self._opened = (manifest, bodies_of(self._body(manifest)))
        return self._opened[1][digest]

    def _recount(self) -> None:
        """Say how much of each quota is used: the triggers that count were off."""
        for resource, (table, amount) in _CHARGED.items():
            self._connection.execute(
                sql.SQL(
                    """UPDATE morph.quota SET used = (SELECT coalesce(sum({}), 0) FROM morph.{} WHERE tenant = %s)
                       WHERE tenant = %s AND resource = %s"""
                ).format(sql.SQL(amount), sql.Identifier(table)),
                (self.state.tenant, self.state.tenant, resource),
            )
        self._connection.execute(
            """UPDATE morph.quota q SET used = b.built, day = b.day
               FROM (SELECT (recorded_at AT TIME ZONE 'UTC')::date AS day, count(*) AS built FROM morph.build
                     WHERE tenant = %s GROUP BY 1 ORDER BY 1 DESC LIMIT 1) b
               WHERE q.tenant = %s AND q.resource = 'builds_per_day'""",
            (self.state.tenant, self.state.tenant),
        )

    def _tables(self) -> list[LiteralString]:
        return [*REPLAYED_TABLES, "event", "security_event", "relay"]


class _Derived(NamedTuple):
    """A column that the log tells in another form, and how to get it from the row that the log tells."""

    column: LiteralString
    of: Callable[[Row], object]


def _columns(table: LiteralString, spec: ReplayedTable) -> list[LiteralString]:
    own: tuple[LiteralString, ...] = () if "tenant" in spec.key else ("tenant",)
    told = (column for column in spec.columns if column not in spec.digests)
    derived = [_DERIVED[table].column] if table in _DERIVED else []
    return [*own, *spec.key, *told, *spec.bodies, *spec.born, *spec.changed, *derived]


def _stored(value: object) -> object:
    return Jsonb(value) if isinstance(value, dict) else value


_TEXT_BODIES: Final = frozenset({"log_tail"})
_KEYS: Final[Mapping[str, tuple[LiteralString, ...]]] = {"quota": ("tenant", "resource")}
_DERIVED: Final[Mapping[str, _Derived]] = {
    "pin": _Derived("until_at", lambda row: None if row["until_us"] is None else from_us(row["until_us"])),
    "kernel_import": _Derived("txid", lambda _row: _NO_TRANSACTION),
    "tombstone": _Derived("grace_until", lambda row: from_us(row["grace_until_us"])),
}
_CHARGED: Final[Mapping[str, tuple[LiteralString, LiteralString]]] = {
    "blueprints": ("blueprint", "1"),
    "kernels": ("kernel", "CASE state WHEN 'PURGED' THEN 0 ELSE 1 END"),
    "blob_bytes": ("blob", "CASE state WHEN 'live' THEN size_bytes ELSE 0 END"),
    "checkpoints": ("checkpoint", "1"),
}
