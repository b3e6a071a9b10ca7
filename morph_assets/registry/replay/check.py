"""Whether the tables hold what the log tells, nothing more and nothing less."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from morph_assets.registry.connection import Registry
from morph_assets.registry.events import EventRecord, events_after
from morph_assets.registry.replay.state import ReplayedState, fold
from morph_assets.registry.replay.tables import RowDifference, iter_differences

_PAGE = 2000


@dataclass(frozen=True)
class ReplayCheck:
    """How many events were repeated, how many rows they make, and the first rows that the tables tell otherwise."""

    seq: int
    rows: int
    differences: tuple[RowDifference, ...]


def check_replay(
    registry: Registry, body: Callable[[str, str], bytes] | None = None, *, limit: int = 100
) -> ReplayCheck:
    """Repeat the tenant's whole log and compare the outcome with the tables, in one snapshot of the database.

    `body` returns the bytes of a tenant's digest; only logs with imported batches need it. Returns the first `limit`
    differences. The rows are held in memory: about 2 kB each.

    Raises:
        RegistryError: the log has a gap, or tells of something that this version does not know.
    """
    with registry.transaction() as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # It holds no lock that anybody waits for, and between two pages a busy machine folds for longer than a writer
        # may do nothing.
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
        (tenant,) = registry.call("SELECT morph.current_tenant()")
        state = ReplayedState(tenant) if body is None else ReplayedState(tenant, partial(body, tenant))
        fold(state, iter_log(registry))
        differences = tuple(islice(iter_differences(connection, state), limit))
    return ReplayCheck(state.seq, sum(len(rows) for rows in state.tables.values()), differences)


def iter_log(registry: Registry, after: int = 0) -> Iterator[EventRecord]:
    """Yield the tenant's events after a sequence number, oldest first, page by page."""
    while page := events_after(registry, after, limit=_PAGE):
        yield from page
        after = page[-1].seq
