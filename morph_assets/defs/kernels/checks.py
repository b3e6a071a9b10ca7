"""What must be true of a kernel, each a sentence that can be checked again at any time."""

import warnings

import dagster as dg

from morph_assets.defs.kernels.assets import compiled_kernel
from morph_assets.defs.partitions import active_blueprints
from morph_assets.platform import Platform

with warnings.catch_warnings():
    # Partitioned checks are a preview in Dagster 1.13; the version is pinned.
    warnings.simplefilter("ignore", dg.PreviewWarning)

    @dg.asset_check(asset=compiled_kernel, partitions_def=active_blueprints)
    def kernel_was_built_once(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.AssetCheckResult:
        """The compiler ran once for this build key, however many asked."""
        kernel = platform.find_kernel(context.partition_key)
        builds = platform.count_builds(kernel.build_key)
        return dg.AssetCheckResult(
            passed=builds == 1,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"builds": builds, "build_key": kernel.build_key},
        )

    @dg.asset_check(asset=compiled_kernel, partitions_def=active_blueprints)
    def kernel_is_signed(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.AssetCheckResult:
        """A trusted compiler vouches for exactly the bytes that the store holds."""
        rejected = platform.signature_problem(context.partition_key)
        return dg.AssetCheckResult(passed=rejected is None, metadata={"problem": rejected or "-"})
