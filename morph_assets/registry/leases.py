"""Leases: one holder at a time, a new epoch for each acquisition, and the fence that a zombie meets."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from morph_assets.registry.connection import Registry


@dataclass(frozen=True)
class Lease:
    """A lease held by one incarnation of one process."""

    name: str
    holder: UUID
    epoch: int


def acquire_lease(registry: Registry, name: str, *, ttl_s: float) -> Lease | None:
    """Take the lease for `ttl_s` seconds as a holder nobody has been before; None while another holder is live."""
    holder = uuid4()
    (epoch,) = registry.call("SELECT morph.acquire_lease(%s, %s, %s)", (name, holder, ttl_s))
    return None if epoch is None else Lease(name, holder, epoch)


def renew_lease(registry: Registry, lease: Lease, *, ttl_s: float) -> None:
    """Hold on to the lease for `ttl_s` seconds from now.

    Raises:
        FencedError: somebody else has taken it.
    """
    registry.call("SELECT morph.renew_lease(%s, %s, %s, %s)", (lease.name, lease.holder, lease.epoch, ttl_s))


def release_lease(registry: Registry, lease: Lease) -> bool:
    """Give the lease back; false where it was somebody else's already."""
    (released,) = registry.call("SELECT morph.release_lease(%s, %s, %s)", (lease.name, lease.holder, lease.epoch))
    return bool(released)


def check_fence(registry: Registry, lease: Lease) -> None:
    """Inside `registry.transaction()`: let the transaction commit only while the lease is this one.

    Raises:
        FencedError: the lease's epoch is over.
    """
    registry.call("SELECT morph.fence(%s, %s, %s)", (lease.name, lease.holder, lease.epoch))
