"""The rows that a log amounts to, by table and key, while it is being read."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from morph_assets.registry.errors import RegistryError

Row = dict[str, Any]
Key = tuple[Any, ...]


class ToldEvent(Protocol):
    """What replay reads of an event."""

    @property
    def tenant(self) -> str:
        """Whose event it is."""

    @property
    def seq(self) -> int:
        """Its place in the tenant's chain."""

    @property
    def type(self) -> str:
        """What happened."""

    @property
    def subject(self) -> str:
        """What it happened to."""

    @property
    def actor(self) -> str:
        """The login that did it."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The payload."""


class UnknownEventError(RegistryError):
    """The log tells of something that this version cannot repeat: it was written by a newer one."""


def _no_body(digest: str) -> bytes:
    raise RegistryError(f"the log names the body {digest}: it can be repeated only beside the object store")


@dataclass
class ReplayedState:
    """Rows by table and key, as one tenant's log says; columns that only keep books (`*_at`) are left out.

    `moments` holds instead, for each row, the events that made it and that changed it last. `body` returns the bytes of
    a digest, for events that tell of a whole batch by naming its manifest; `inside` says of each body of such a batch
    which manifest holds it.
    """

    tenant: str
    body: Callable[[str], bytes] = _no_body
    seq: int = 0
    tables: dict[str, dict[Key, Row]] = field(default_factory=lambda: defaultdict(dict))
    moments: dict[tuple[str, Key], tuple[int, int]] = field(default_factory=dict)
    inside: dict[str, str] = field(default_factory=dict)

    def put(self, table: str, key: Key, **columns: Any) -> Row:  # a row holds what its table holds
        """Make a row; one that is there already stays as it is."""
        self.moments.setdefault((table, key), (self.seq, self.seq))
        return self.tables[table].setdefault(key, columns)

    def row(self, table: str, *key: Any) -> Row:  # keys are digests, names, numbers
        """Return a row.

        Raises:
            RegistryError: the log has not told of it: it is not whole.
        """
        try:
            return self.tables[table][key]
        except KeyError:
            raise RegistryError(f"the log of {self.tenant} changes {table} {key} before it tells of it") from None

    def change(self, table: str, *key: Any, **columns: Any) -> Row:  # as above
        """Change columns of a row, and raise its version where it has one."""
        row = self.row(table, *key)
        row.update(columns)
        self.moments[table, key] = (self.moments[table, key][0], self.seq)
        if "row_version" in row and "row_version" not in columns:
            row["row_version"] += 1
        return row

    def drop(self, table: str, *key: Any) -> None:  # as above
        """Forget a row."""
        self.row(table, *key)
        del self.tables[table][key], self.moments[table, key]

    def link(self, source: str, relation: str, target: str, seq: int) -> None:
        """Draw an edge of the lineage."""
        self.put("edge", (source, relation, target, seq), until_seq=None)


Handler = Callable[[ReplayedState, ToldEvent], None]
_HANDLERS: dict[str, Handler] = {}


def applies(*types: str) -> Callable[[Handler], Handler]:
    """Register the function that repeats these types of events."""

    def register(handler: Handler) -> Handler:
        for name in types:
            if name in _HANDLERS:
                raise ValueError(f"{name} is repeated by two functions")
            _HANDLERS[name] = handler
        return handler

    return register


def handled_types() -> frozenset[str]:
    """Return the types of events that this version can repeat."""
    return frozenset(_HANDLERS)


def fold(state: ReplayedState, events: Iterable[ToldEvent]) -> ReplayedState:
    """Repeat the events, oldest first, on the state; return the same state.

    Raises:
        UnknownEventError: an event of a type that this version does not know.
        RegistryError: the events leave something out.
    """
    for event in events:
        handler = _HANDLERS.get(event.type)
        if handler is None:
            raise UnknownEventError(f"event {event.seq} of {event.tenant} is a {event.type}: unknown to this version")
        if event.seq != state.seq + 1:
            raise RegistryError(f"event {state.seq + 1} of {event.tenant} is missing")
        state.seq = event.seq
        handler(state, event)
    return state
