"""The way from a blueprint to a kernel in service: one use case an asset."""

import dagster as dg

from morph_assets.defs.automation import requested_when_missing_or_changed
from morph_assets.defs.blueprints.assets import blueprint
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.partitions import active_blueprints
from morph_assets.defs.tables import facts_table
from morph_assets.platform import Platform
from morph_kernels.compile.recipe import RECIPE_VERSION

_GROUP = "kernels"
_OWNERS = ["team:kernels"]


@dg.asset(
    partitions_def=active_blueprints,
    deps=[blueprint],
    automation_condition=requested_when_missing_or_changed(),
    group_name=_GROUP,
    kinds={"pytorch", "cplusplus"},
    owners=_OWNERS,
    code_version=f"recipe-{RECIPE_VERSION}",
)
def compiled_kernel(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult[None]:
    """The forward and backward libraries of one blueprint, compiled in a sandbox and signed by the compiler.

    One build key is built once, whoever asks and however often.
    """
    with explained_failures():
        platform.adopt_blueprint(context.partition_key)
        kernel = platform.compile_kernel(context.partition_key)
    record = platform.find_kernel(kernel.digest)
    how = "compiled now" if kernel.built else "found: it was compiled before"
    context.log.info("kernel %s: %s", kernel.digest, how)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(kernel.digest),
        metadata={
            "digest": kernel.digest,
            "build_s": kernel.wall_s,
            "build_cpu_s": kernel.cpu_s,
            "size_bytes": kernel.size_bytes,
            "was_built_now": kernel.built,
            "kernel": facts_table(
                {
                    "blueprint": kernel.blueprint_digest,
                    "build key": kernel.build_key,
                    "target": f"{record.device} {record.isa} {record.dtype}",
                    "built with": f"torch {record.torch}, {record.toolchain}",
                    "pipeline": f"{record.pipeline}, recipe {record.recipe_version}",
                    "state": kernel.state,
                }
            ),
            "object": dg.MetadataValue.path(record.bundle_key),
        },
    )


@dg.asset(
    partitions_def=active_blueprints,
    deps=[compiled_kernel],
    automation_condition=requested_when_missing_or_changed(),
    group_name=_GROUP,
    kinds={"postgres", "redis", "s3"},
    owners=_OWNERS,
    code_version="1",
)
def published_kernel(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult[None]:
    """The validated kernel behind the name's `production` alias, in a signed index that loaders read.

    Whether it may be published is decided by the registry: what was not validated fails here, whoever asks.
    """
    with explained_failures():
        published = platform.publish_kernel(context.partition_key)
    record = platform.find_kernel(published.digest)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{published.generation}"),
        metadata={
            "digest": published.digest,
            "generation": published.generation,
            "version": published.version,
            "speed_ratio": record.speed_ratio if record.speed_ratio is not None else 0.0,
            "load_it": dg.MetadataValue.md(
                f'```python\nKernelLoader().load("{published.name}@{published.alias}")\n```'
            ),
        },
    )
