"""What was used, metered up to the last full hour."""

from datetime import datetime

from morph_assets.connections import Connections
from morph_assets.registry.usage import UsageGroup, UsageSum, meter_storage, sum_usage
from morph_assets.usecases.acknowledge import acknowledged


@acknowledged
def show_usage(connections: Connections, *, by: UsageGroup = "tenant", since: datetime | None = None) -> list[UsageSum]:
    """Meter what is stored, then return what was used of each kind for each tenant, run, blueprint or kernel."""
    meter_storage(connections.registry("platform"))
    return sum_usage(connections.registry("platform"), by=by, since=since)
