"""What the last round over the library decided."""

from collections.abc import Sequence

import dagster as dg

from morph_assets.defs.automation import requested_every_hour
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import rounded, table
from morph_assets.platform import Platform
from morph_assets.registry.usage import UsageSum
from morph_assets.usecases.curate_kernels import CuratedKernel

_COLUMNS = ("kernel", "names", "decision", "because", "policy", "bytes")
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
            "frees_bytes": report.frees_bytes,
            "freed_bytes": report.freed_bytes,
            "kernels": table(
                ("kernel", "names", "decision", "because", "policy", "bytes"), [_row(kernel) for kernel in shown]
            ),
        }
    )


@dg.asset(
    automation_condition=requested_every_hour(),
    group_name="library",
    kinds={"postgres"},
    owners=["team:operations"],
    code_version="1",
)
def usage_ledger(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[None]:
    """What builds, storage and deliveries cost, as a whole and for each run and blueprint."""
    with explained_failures():
        whole = platform.show_usage()
        runs, blueprints = platform.show_usage(by="run"), platform.show_usage(by="blueprint")
    return dg.MaterializeResult(
        metadata={
            **{kind: rounded(_sum(whole, kind)) for kind in ("build_cpu_s", "stored_byte_hours", "bytes_served")},
            "by_run": _usage_table("run", runs),
            "by_blueprint": _usage_table("blueprint", blueprints),
        }
    )


def _sum(sums: Sequence[UsageSum], kind: str) -> float:
    return sum(summed.quantity for summed in sums if summed.kind == kind)


def _usage_table(of: str, sums: Sequence[UsageSum]) -> dg.MarkdownMetadataValue:
    shown = [summed for summed in sums if summed.key is not None][:_MAX_SHOWN]
    rows = [(str(summed.key)[:_SHORT], summed.kind, summed.quantity, summed.entries) for summed in shown]
    return table((of, "kind", "used", "entries"), rows)


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
