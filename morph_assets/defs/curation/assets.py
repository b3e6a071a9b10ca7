"""What the last round over the library decided."""

import dagster as dg

from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_assets.usecases.curate_kernels import CuratedKernel

_MAX_SHOWN = 200
_SHORT = 16  # characters of a digest are enough to tell it apart


class CurationConfig(dg.Config):
    """Whether to carry the plan out, or only to show it."""

    dry_run: bool = False


@dg.asset(
    group_name="library",
    kinds={"postgres", "s3"},
    owners=["team:kernels"],
    code_version="1",
)
def kernel_curation(config: CurationConfig, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[None]:
    """Which kernels the retention policies took, which tombstones were removed for good, and why the others stay."""
    with explained_failures():
        report = platform.curate_kernels(dry_run=config.dry_run)
    shown = report.kernels[:_MAX_SHOWN]
    return dg.MaterializeResult(
        metadata={
            "dry_run": report.dry_run,
            "kept_count": report.count("kept"),
            "retired_count": report.count("retired"),
            "tombstoned_count": report.count("tombstoned"),
            "purged_count": report.count("purged"),
            "refused_count": report.count("refused"),
            "frees_bytes": report.sum_bytes("retired") + report.sum_bytes("tombstoned"),
            "freed_bytes": report.sum_bytes("purged"),
            "kernels": table(("kernel", "names", "", "because", "policy", "bytes"), [_row(kernel) for kernel in shown]),
        }
    )


def _row(kernel: CuratedKernel) -> tuple[object, ...]:
    names = ", ".join(kernel.names) or None
    return (
        kernel.digest[:_SHORT],
        names,
        kernel.decision,
        kernel.because,
        kernel.policy or None,
        kernel.store_bytes,
    )
