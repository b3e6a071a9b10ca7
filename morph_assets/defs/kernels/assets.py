"""The way from a blueprint to a kernel in service: one use case an asset."""

import time
from importlib import import_module
from importlib.metadata import version

import dagster as dg

from morph_assets.defs.automation import requested_when_missing_or_changed
from morph_assets.defs.blueprints.assets import blueprint
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.kernels.checks import checks_on, judge_compilation, judge_evaluation, judge_load
from morph_assets.defs.materialized import Materialized
from morph_assets.defs.partitions import active_blueprints
from morph_assets.defs.pictures import picture
from morph_assets.defs.tables import facts_table, rounded, table
from morph_assets.platform import Platform
from morph_assets.usecases.draw_lineage import draw_lineage
from morph_assets.usecases.explain_load import LoadExplanation
from morph_kernels.compile.recipe import RECIPE_VERSION

_GROUP = "kernels"
_OWNERS = ["team:kernels"]
# What is worth following over time.
_TRENDS = frozenset({"speed_ratio", "latency_us", "memory_bytes", "worst_output_error", "worst_gradient_error"})
LOAD_MS = "load_ms"
_SHORT = 16  # characters of a digest are enough to tell it apart


@dg.asset(
    partitions_def=active_blueprints,
    deps=[blueprint],
    automation_condition=requested_when_missing_or_changed(),
    check_specs=checks_on("compiled_kernel"),
    group_name=_GROUP,
    kinds={"pytorch", "cplusplus"},
    owners=_OWNERS,
    code_version=f"recipe-{RECIPE_VERSION}",
)
def compiled_kernel(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Materialized:
    """The forward and backward libraries of one blueprint, compiled in a sandbox and signed by the compiler.

    One build key is built once, whoever asks and however often.
    """
    with explained_failures():
        platform.adopt_blueprint(context.partition_key)
        kernel = platform.compile_kernel(context.partition_key)
        record = platform.find_kernel(kernel.digest)
        builds, problem = platform.count_builds(kernel.build_key), platform.signature_problem(kernel.digest)
    how = "compiled now" if kernel.built else "found: it was compiled before"
    context.log.info("kernel %s: %s", kernel.digest, how)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(kernel.digest),
        check_results=[*judge_compilation(builds=builds, signature_problem=problem)],
        metadata={
            "digest": kernel.digest,
            "build_s": round(kernel.wall_s, 2),
            "build_cpu_s": round(kernel.cpu_s, 2),
            "size_bytes": kernel.size_bytes,
            "was_built_now": kernel.built,
            "kernel": facts_table(
                {
                    "blueprint": kernel.blueprint_digest[:_SHORT],
                    "build key": kernel.build_key[:_SHORT],
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
    check_specs=checks_on("kernel_evaluation"),
    group_name=_GROUP,
    kinds={"pytorch"},
    owners=_OWNERS,
    # A kernel built with one torch may be validated for another: an upgrade evaluates anew and compiles nothing.
    code_version=f"torch-{version('torch')}",
)
def kernel_evaluation(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Materialized:
    """What was found when the kernel ran beside its blueprint's eager module, in a sandbox, against float64.

    A rejection is a report too: it is kept, its checks fail, and nothing after it is made.
    """
    with explained_failures():
        found = platform.evaluate_kernel(context.partition_key)
    measured = [m for m in found.measurements if not m.shape_class]
    sums = {m.metric: m.value for m in measured}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(found.report_digest),
        check_results=[*judge_evaluation(found)],
        metadata={
            "verdict": found.verdict,
            "report": found.report_digest,
            "kernel": found.digest,
            "risk": rounded(found.risk),
            "tags": ", ".join(found.tags) or "-",
            **{metric: rounded(value) for metric, value in sums.items() if metric in _TRENDS},
            "measured": table(("metric", "value", "unit"), [(m.metric, m.value, m.unit) for m in measured]),
            "by_shape": table(
                ("shape", "metric", "value", "unit"),
                [(m.shape_class, m.metric, m.value, m.unit) for m in found.measurements if m.shape_class],
            ),
            **({"reasons": table(("speaks against it",), [(r,) for r in found.reasons])} if found.reasons else {}),
        },
    )


@dg.asset(
    partitions_def=active_blueprints,
    deps=[kernel_evaluation],
    automation_condition=requested_when_missing_or_changed(),
    check_specs=checks_on("published_kernel"),
    group_name=_GROUP,
    kinds={"postgres", "redis", "s3"},
    owners=_OWNERS,
    code_version="1",
)
def published_kernel(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Materialized:
    """The validated kernel behind the name's `production` alias, in a signed index that loaders read.

    Whether it may be published is decided by the registry: what was not validated fails here, whoever asks.
    """
    with explained_failures():
        published = platform.publish_kernel(context.partition_key)
        record = platform.find_kernel(published.digest)
        traced = platform.trace(published.digest)
        ref = f"{published.name}@{published.alias}"
        loaded, load_ms = _load(platform, ref)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{published.generation}"),
        check_results=[judge_load(published, loaded)],
        metadata={
            "digest": published.digest,
            "generation": published.generation,
            "version": published.version,
            LOAD_MS: rounded(load_ms),
            "loaded_from": loaded.source,
            **({} if record.speed_ratio is None else {"speed_ratio": rounded(record.speed_ratio)}),
            "load_it": dg.MetadataValue.md(f'```python\nKernelLoader().load("{ref}")\n```'),
            "evaluation": dg.MetadataValue.asset(dg.AssetKey("kernel_evaluation")),
            "lineage": picture(draw_lineage(traced.node, traced.upward, traced.downward)),
        },
    )


def _load(platform: Platform, ref: str) -> tuple[LoadExplanation, float]:
    """Load the ref as training would; return what came of it and the milliseconds, imports apart."""
    import_module("morph_kernels.loader")
    import_module("torch")
    began = time.perf_counter()
    loaded = platform.why(ref)
    return loaded, (time.perf_counter() - began) * 1000
