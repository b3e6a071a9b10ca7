"""The asset that everything compiled comes from."""

import dagster as dg

from morph_assets.defs.failures import explained_failures
from morph_assets.defs.partitions import active_blueprints
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_assets.usecases.show_blueprint import ShownBlueprint


# No automation: a blueprint is made by whoever submits it, and `blueprint_arrivals` says so here.
@dg.asset(
    partitions_def=active_blueprints,
    group_name="blueprints",
    kinds={"yaml", "postgres"},
    owners=["team:research"],
    code_version="1",
)
def blueprint(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[None]:
    """A module's design: an immutable graph with a typed interface, named by the digest of its canonical bytes.

    Materialising it finds the newest release. A blueprint that is shipped with the distribution is submitted if
    nobody did.
    """
    with explained_failures():
        release = platform.adopt_blueprint(context.partition_key)
        shown = platform.show_blueprint(context.partition_key)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(release.blueprint_digest),
        metadata={
            "version": release.version,
            "digest": release.blueprint_digest,
            "state": release.state,
            "tags": ", ".join(release.tags) or "-",
            "author": release.author or "-",
            "parameter_bytes": shown.blueprint.parameter_bytes,
            "interface": _interface(shown),
            "releases": len(shown.releases),
        },
    )


def _interface(shown: ShownBlueprint) -> dg.MarkdownMetadataValue:
    interface = shown.blueprint.interface
    rows = [
        (way, tensor.name, tensor.dtype, " x ".join(str(size) for size in tensor.shape))
        for way, tensors in (("in", interface.inputs), ("out", interface.outputs))
        for tensor in tensors
    ]
    ranges = [("size", name, "", f"{found.min} to {found.max}") for name, found in interface.symbols.items()]
    return table(("kind", "name", "dtype", "shape"), [*rows, *ranges])
