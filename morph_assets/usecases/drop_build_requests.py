"""Forgets what loaders asked for, once it is answered."""

from morph_assets.connections import Connections
from morph_assets.usecases.plan_build_requests import AnsweredRequest


def drop_build_requests(connections: Connections, answered: tuple[AnsweredRequest, ...]) -> int:
    """Forget the requests of which nothing more will come; return how many.

    Raises:
        StoreError: the store does not answer; what was forgotten until then stays forgotten.
    """
    done = [request for request in answered if request.drop]
    for request in done:
        connections.store.delete(request.key)
    return len(done)
