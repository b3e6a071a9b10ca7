"""Jobs on kernels, to start by hand or by a sensor."""

import dagster as dg

from morph_assets.defs.failures import explained_failures
from morph_assets.platform import Platform

publish_blueprint = dg.define_asset_job(
    "publish_blueprint",
    selection=dg.AssetSelection.groups("blueprints", "kernels"),
    description="A blueprint's whole way to a published kernel.",
)


@dg.op
def relay(context: dg.OpExecutionContext, platform: dg.ResourceParam[Platform]) -> None:
    """Publish every index that is behind the registry's log."""
    with explained_failures():
        relayed = platform.relay_indexes()
    if relayed.was_leader:
        context.log.info("published anew: %s", ", ".join(relayed.names) or "nothing was behind")
    else:
        context.log.info("another process is relaying")


@dg.job(description="Tells loaders whatever the registry's log says and no published index does.")
def relay_indexes() -> None:
    """Run the relay once."""
    relay()
