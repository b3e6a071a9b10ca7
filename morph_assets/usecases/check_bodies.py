"""Compares the bodies that events name with what the registry and the store hold under those names."""

from collections.abc import Iterator, Sequence

from morph_assets.connections import Connections
from morph_assets.registry.audit.bodies import MAX_BODY_BYTES, OBJECT_KINDS, NamedBody, named_bodies, read_bodies
from morph_assets.registry.audit.finding import Finding, Tampering
from morph_assets.registry.audit.row import EventRow
from morph_assets.registry.events import EventRecord, events_after
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import ObjectKey
from morph_kernels.store import ObjectNotFoundError, ObjectTooLargeError
from morph_kernels.store.keys import InvalidKeyError, blob_key

_PURGED = ("kernel.purge_started", "kernel.purged")


class BodyChecker:
    """Checks the bodies of a tenant's events, some events at a time; `checked` counts them."""

    def __init__(self, connections: Connections, *, archived_seq: int) -> None:
        self._connections = connections
        self._registry = connections.registry("auditor")
        self._archived_seq = archived_seq
        # What was purged on purpose left no bodies, but a proof of its deletion, which the purge itself names.
        self._purged = {event.facts.get("kernel_digest"): event.seq for event in _iter_purged(connections)}
        self.checked = 0

    def check(self, rows: Sequence[EventRow]) -> Iterator[Finding]:
        """Yield what is wrong with the bodies that these events name."""
        bodies = [body for body in named_bodies(rows) if body.seq > self._purged.get(body.kernel, 0)]
        self.checked += len(bodies)
        for body, data in read_bodies(self._registry, bodies):
            yield from _judge(body, data, "registry", expected=True)
            copy = self._stored(blob_key(self._connections.tenant, body.digest))
            yield from _judge(body, copy, "store", expected=body.seq <= self._archived_seq)
        for body in bodies:
            if body.kind in OBJECT_KINDS:
                copy = self._stored(ObjectKey(body.row))
                yield from _judge(body, copy, "store", expected=True)

    def _stored(self, key: ObjectKey) -> bytes | None:
        try:
            return self._connections.store.get(key, max_bytes=MAX_BODY_BYTES)
        except (ObjectNotFoundError, InvalidKeyError):
            return None
        except ObjectTooLargeError:
            return b""  # nothing that we stored is that large


def _judge(body: NamedBody, data: bytes | None, where: str, *, expected: bool) -> Iterator[Finding]:
    if data is None and expected:
        detail = f"the {where} no longer has the {body.kind} that it names"
        yield Finding("log", body.seq, Tampering.BODY_MISSING, detail)
    if data is not None and sha256_hex(data) != body.digest:
        yield Finding(
            "log", body.seq, Tampering.BODY_CHANGED, f"the {where}'s {body.kind} is not the one that it names"
        )


def _iter_purged(connections: Connections, page: int = 1000) -> Iterator[EventRecord]:
    after = 0
    while found := events_after(connections.registry("auditor"), after, limit=page, types=_PURGED):
        yield from found
        after = found[-1].seq
