"""What Redis should hold before it is asked: the kernels of running jobs, and those of new production releases."""

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.usecases.find_needed_kernels import find_needed_kernels
from morph_assets.usecases.follow_events import FollowedEvents, follow_events
from morph_assets.usecases.plan_warming import WarmingPlace, WarmingPlan, plan_warming
from morph_kernels.identity import BlueprintDigest, KernelDigest

_PRODUCTION = "production"


def find_warming(connections: Connections, place: WarmingPlace) -> WarmingPlan:
    """Return which kernels to bring into Redis now; nothing, and the place as it was, where Redis is not in reach."""
    held = connections.ask_redis("redis_warming", lambda redis: frozenset(k.digest for k in redis.kernels()))
    if held is None:
        return WarmingPlan({}, place)
    moves = follow_events(connections, place.seen, types=("alias.moved",))
    needed = _released(connections, moves) | _running(connections)
    return plan_warming(needed, held=held, place=place, seen=moves.cursor)


def _running(connections: Connections) -> dict[KernelDigest, str]:
    registry = connections.registry("platform")
    wanted = find_needed_kernels(connections)
    return {digest: "a running job" for digest in wanted if kernels.kernel_state(registry, digest) == "PUBLISHED"}


def _released(connections: Connections, moves: FollowedEvents) -> dict[KernelDigest, str]:
    # Of a name that moved twice only the last move counts.
    newest = {event.facts["name"]: event.facts for event in moves.events if event.facts["alias"] == _PRODUCTION}
    found: dict[KernelDigest, str] = {}
    for name, facts in newest.items():
        blueprint = BlueprintDigest(facts["blueprint_digest"])
        registry = connections.registry("platform")
        for kernel in kernels.list_kernels(registry, blueprint_digest=blueprint, states=("PUBLISHED",)):
            found[kernel.digest] = f"{name}@{_PRODUCTION}"
    return found
