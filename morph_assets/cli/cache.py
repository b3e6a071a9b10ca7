"""`morph cache`: stats, warm, evict, tiers, requests, scrub."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.dagster_instance import enter_dagster
from morph_assets.cli.output import print_error, print_json, print_line, print_listing
from morph_assets.cli.platform_session import JsonOption, open_platform
from morph_kernels.identity import KernelDigest, is_digest

if TYPE_CHECKING:
    from morph_assets.usecases.evict_cache import EvictionReport
    from morph_assets.usecases.scrub_artifacts import Damage

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Kernels on this host's disk, in Redis and the store."
)


@app.command()
def stats(as_json: JsonOption = False) -> None:
    """Show what each tier holds, against what it may hold.

    Example: morph cache stats --json
    """
    with open_platform(as_json=as_json) as platform:
        tiers = [dataclasses.asdict(tier) for tier in platform.cache_state().tiers]
    print_listing(tiers, as_json=as_json)


@app.command()
def warm(
    refs: Annotated[list[str] | None, typer.Argument(help="name or name@alias, one or more.")] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="PLAN", help="A run plan: what `KernelLoader.plan(...).to_bytes()` wrote.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the published kernels of refs, or of a run's plan, into Redis before anybody asks for them.

    A sensor does it by itself for running jobs and for new production releases.

    Example: morph cache warm ffn_gelu@production --run plan.json
    """
    if not refs and run is None:
        raise typer.BadParameter("give at least one ref, or --run and the file of a run plan")
    with open_platform(as_json=as_json) as platform:
        from morph_assets.usecases.read_run_plan import read_run_plan

        warmed = platform.warm_cache(refs or (), digests=() if run is None else read_run_plan(run))
    if as_json:
        print_json(dataclasses.asdict(warmed))
    else:
        print_line(f"{len(warmed.warmed)} kernels are in Redis, {len(warmed.missed)} were not taken")
    if warmed.missed:
        raise typer.Exit(1)


@app.command()
def evict(
    tier: Annotated[str, typer.Argument(help="disk or redis.")],
    budget_bytes: Annotated[int | None, typer.Option(min=0, help="Instead of the tier's own budget.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a cache within its budget: what is cheapest to lose goes first, what is pinned never.

    Where Dagster is in reach, its asset `cache_eviction` then shows what went and why the rest stays.

    Example: morph cache evict disk --budget-bytes 1000000000 --dry-run
    """
    with open_platform(as_json=as_json) as platform:
        report = platform.evict_cache(tier, budget_bytes=budget_bytes, dry_run=dry_run)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        verb = "would be dropped" if dry_run else "were dropped"
        print_line(f"{len(report.dropped)} kernels {verb}, {report.freed_bytes} bytes; {len(report.kept_because)} stay")
    if not dry_run:
        _tell_dagster(report)


def _tell_dagster(report: "EvictionReport") -> None:
    try:
        enter_dagster()
        from dagster import DagsterInstance

        from morph_assets.defs.cache.evictions import report_eviction

        with DagsterInstance.get() as instance:
            report_eviction(instance, report)
    except Exception as error:  # noqa: BLE001 - whatever its storage raises, the eviction is done and was printed
        print_error(f"Dagster was not told: {type(error).__name__}: {error}")


@app.command()
def tiers(
    move: Annotated[bool, typer.Option("--move", help="Bring each kernel to its tier here and now.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where each kernel belongs: hot (Redis and store), warm (store), cold (another place), dropped, and why.

    MORPH_COLD_STORE_URL names the cold place; MORPH_HOT_DAYS, MORPH_COLD_DAYS, MORPH_DROP_DAYS and MORPH_DROP_BUILD_S
    are the policy. A schedule carries it out every night. Exit status 1 if something could not be moved.

    Example: morph cache tiers --move
    """
    with open_platform(as_json=as_json) as platform:
        report = platform.tier_storage(dry_run=not move)
    rows = [
        {
            "digest": tiered.kernel.digest,
            "names": list(tiered.kernel.names),
            "tier": tiered.tier,
            "because": tiered.because,
            "step": tiered.step,
            "place": tiered.kernel.place,
            "size_bytes": tiered.kernel.size_bytes,
            "failed": report.failed.get(tiered.kernel.digest),
        }
        for tiered in report.kernels
    ]
    print_listing(rows, as_json=as_json)
    if report.failed:
        raise typer.Exit(1)


@app.command()
def requests(
    build: Annotated[bool, typer.Option("--build", help="Build here and now what can be built.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the kernels that loaders missed and asked for, and what becomes of each; a sensor answers them by itself.

    Example: morph cache requests --build
    """
    with open_platform(as_json=as_json) as platform:
        answered = platform.build_requests()
        if build:
            if recall := [digest for request in answered for digest in request.recall]:
                platform.recall_kernels(dict.fromkeys(recall))
            for name in dict.fromkeys(request.name for request in answered if request.answer == "build"):
                print_error(f"building {name}")
                platform.compile_kernel(name)
                platform.evaluate_kernel(name)
                platform.publish_kernel(name)
            answered = platform.build_requests()
            platform.drop_build_requests(answered)
    print_listing([dataclasses.asdict(request) for request in answered], as_json=as_json)


@app.command()
def scrub(
    after: Annotated[str | None, typer.Option(help="Go on behind this kernel's digest.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="At most this many kernels; all by default.")
    ] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Bytes a second; MORPH_SCRUB_BYTES_PER_S by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Read stored kernels back and mend what is damaged; exit status 1 if something could not be mended.

    Example: morph cache scrub --limit 50 --rate 10000000
    """
    if after is not None and not is_digest(after):
        raise typer.BadParameter("--after is a kernel's digest, 64 hexadecimal digits, as `next_cursor` says it")
    cursor = None if after is None else KernelDigest(after)
    checked = 0
    damaged: list[Damage] = []
    with open_platform(as_json=as_json) as platform:
        while True:
            report = platform.scrub_artifacts(after=cursor, limit=limit or 50, bytes_per_s=rate)
            checked, cursor = checked + report.checked, report.next_cursor
            damaged.extend(report.damaged)
            if cursor is None or limit is not None:
                break
    if as_json:
        found = [dataclasses.asdict(damage) for damage in damaged]
        print_json({"checked": checked, "damaged": found, "next_cursor": cursor})
    else:
        print_line(f"{checked} kernels checked, {len(damaged)} copies damaged")
        for damage in damaged:
            print_line(f"  {damage.digest[:12]} in {damage.tier}: {damage.reason}, {damage.action}")
    if not all(damage.is_mended for damage in damaged):
        raise typer.Exit(1)
