"""A lease that is kept alive while work goes on, however long that takes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import FencedError, RegistryError
from morph_assets.registry.leases import Lease, acquire_lease, release_lease, renew_lease


@contextmanager
def hold_lease(registry: Registry, name: str, *, ttl_s: float = 15.0) -> Iterator[Lease | None]:
    """Hold the lease for as long as the block runs; yield None where somebody else has it.

    A holder that dies frees it within `ttl_s`. What the block commits is safe only behind `check_fence`.
    """
    lease = acquire_lease(registry, name, ttl_s=ttl_s)
    if lease is None:
        yield None
        return
    done = threading.Event()
    renewer = threading.Thread(target=_renew, args=(registry, lease, ttl_s, done), name=f"lease-{name}", daemon=True)
    renewer.start()
    try:
        yield lease
    finally:
        done.set()
        renewer.join()
        # A registry that is away gets the lease back by its end; what the block raised is not to be hidden by that.
        with suppress(RegistryError):
            release_lease(registry, lease)


def _renew(registry: Registry, lease: Lease, ttl_s: float, done: threading.Event) -> None:
    while not done.wait(ttl_s / 3):
        try:
            renew_lease(registry, lease, ttl_s=ttl_s)
        except FencedError:
            return  # the fence tells whoever wants to commit under it
        except RegistryError:
            continue  # away for a moment; the next try may still be in time
