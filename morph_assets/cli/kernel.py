"""`morph kernel`: the way of a kernel into service and out of it."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli import curation
from morph_assets.cli.curation import ReasonOption, WhatArgument, print_done
from morph_assets.cli.kernel_search import search
from morph_assets.cli.kernel_transfer import export, import_
from morph_assets.cli.output import print_json, print_line, print_listing, print_table
from morph_assets.cli.platform_session import JsonOption, open_platform
from morph_assets.registry.kernel_state import KernelState
from morph_kernels.identity import KernelDigest

if TYPE_CHECKING:
    from morph_assets.registry.kernels import KernelRecord

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Compiled kernels and their way into service.")
app.add_typer(curation.app)
NameArgument = Annotated[str, typer.Argument(help="A blueprint's name.")]
_COLUMNS = ("names", "digest", "state", "isa", "speed_ratio", "latency_us", "size_bytes", "tags")


@app.command("compile")
def compile_(
    name: NameArgument,
    version: Annotated[int | None, typer.Option(help="A release; the newest by default.")] = None,
    pipeline: Annotated[str, typer.Option(help="fast, standard or aggressive.")] = "standard",
    as_json: JsonOption = False,
) -> None:
    """Compile a blueprint for this machine, unless that was done before.

    Example: morph kernel compile ffn_gelu
    """
    with open_platform(as_json=as_json) as platform:
        kernel = platform.compile_kernel(name, version=version, pipeline=pipeline)
    if as_json:
        print_json(dataclasses.asdict(kernel))
        return
    verb = f"compiled in {kernel.wall_s:.1f} s" if kernel.built else "was compiled before"
    print_line(f"{name} {verb}: kernel {kernel.digest} ({kernel.state}, {kernel.size_bytes} bytes)")


@app.command()
def evaluate(what: WhatArgument, as_json: JsonOption = False) -> None:
    """Try a kernel in the evaluator's sandbox; exit status 1 if it is wrong.

    Example: morph kernel evaluate ffn_gelu
    """
    with open_platform(as_json=as_json) as platform:
        found = platform.evaluate_kernel(what)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print_line(f"kernel {found.digest[:12]} {found.verdict} (risk {found.risk:.2f}, report {found.report_digest})")
        for reason in found.reasons:
            print_line(f"  {reason}")
        sums = [(m.metric, f"{m.value:.4g}", m.unit) for m in found.measurements if not m.shape_class]
        print_table(("metric", "value", "unit"), sums)
    if found.verdict == "failed":
        raise typer.Exit(1)


@app.command()
def publish(
    name: NameArgument,
    alias: Annotated[str, typer.Option(help="The alias to point at the release.")] = "production",
    as_json: JsonOption = False,
) -> None:
    """Let training have the validated kernels of a blueprint's newest release.

    Example: morph kernel publish ffn_gelu --alias production
    """
    with open_platform(as_json=as_json) as platform:
        published = platform.publish_kernel(name, alias=alias)
    if as_json:
        print_json(dataclasses.asdict(published))
        return
    print_line(f"{name}@{alias} is release {published.version}, kernel {published.digest}")


@app.command("list")
def list_all(
    state: Annotated[list[KernelState] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the kernels, fastest against eager first.

    Example: morph kernel list --state PUBLISHED --json
    """
    with open_platform(as_json=as_json) as platform:
        found = platform.list_kernels(states=tuple(state or ()))
    records = [dataclasses.asdict(kernel) for kernel in found]
    print_listing(records if as_json else _short(found), as_json=as_json, columns=_COLUMNS)


app.command("search")(search)
app.command("import")(import_)
app.command("export")(export)


@app.command()
def show(what: WhatArgument, as_json: JsonOption = False) -> None:
    """Show one kernel, whatever is known about it.

    Example: morph kernel show ffn_gelu@production --json
    """
    with open_platform(as_json=as_json) as platform:
        found = dataclasses.asdict(platform.find_kernel(what))
    if as_json:
        print_json(found)
        return
    print_table(("field", "value"), list(found.items()))


@app.command()
def verify(what: WhatArgument, as_json: JsonOption = False) -> None:
    """Judge the store's copy of a kernel as a loader here would; exit status 1 if it may not run.

    Example: morph kernel verify ffn_gelu
    """
    from morph_kernels.artifact.verify import Rejected

    with open_platform(as_json=as_json) as platform:
        verdict = platform.verify_kernel(what)
    rejected = verdict if isinstance(verdict, Rejected) else None
    if as_json:
        reason, detail = (rejected.reason, rejected.detail) if rejected else (None, None)
        print_json({"kernel": what, "verified": rejected is None, "reason": reason, "detail": detail})
    else:
        print_line(f"{what}: {f'{rejected.reason}: {rejected.detail}' if rejected else 'verified'}")
    if rejected:
        raise typer.Exit(1)


@app.command()
def promote(
    ref: Annotated[str, typer.Argument(help="name, name@3 or name@staging.")],
    alias: Annotated[str, typer.Argument(help="The alias to point at it.")] = "production",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a published release.

    Example: morph kernel promote ffn_gelu@staging production
    """
    with open_platform(as_json=as_json) as platform:
        generation = platform.promote(ref, alias)
    print_done({"ref": ref, "alias": alias, "generation": generation}, f"{alias} is {ref}", as_json=as_json)


@app.command()
def rollback(
    name: NameArgument,
    alias: Annotated[str, typer.Option(help="The alias to move back.")] = "production",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at the release it pointed at before.

    Example: morph kernel rollback ffn_gelu
    """
    with open_platform(as_json=as_json) as platform:
        version = platform.rollback_alias(name, alias)
    done = {"name": name, "alias": alias, "version": version}
    print_done(done, f"{name}@{alias} is release {version} again", as_json=as_json)


@app.command()
def quarantine(what: WhatArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Take a kernel out of service until it is evaluated again.

    Example: morph kernel quarantine ffn_gelu@production --reason "loss went up"
    """
    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        platform.quarantine_kernel(digest, reason)
    _print_state(digest, "QUARANTINED", as_json=as_json)


@app.command()
def revoke(what: WhatArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Take a kernel out of service for good.

    Example: morph kernel revoke ffn_gelu@production --reason "wrong gradients"
    """
    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        platform.revoke_kernel(digest, reason)
    _print_state(digest, "REVOKED", as_json=as_json)


@app.command()
def why(
    ref: Annotated[str, typer.Argument(help="name or name@alias, as training asks for it.")],
    as_json: JsonOption = False,
) -> None:
    """Say what a loader on this host gets for a ref, and why.

    Example: morph kernel why ffn_gelu@production
    """
    from morph_assets.usecases.advise_load import advise_load

    with open_platform(as_json=as_json) as platform:
        found = platform.why(ref)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    body = f"eager, because {found.reason}" if found.digest is None else f"kernel {found.digest} from {found.source}"
    print_line(f"{ref}: {body}")
    if advice := next(filter(None, map(advise_load, found.obstacles)), ""):
        print_line(f"  what to do: {advice}")
    for what, count in found.refused.items():
        print_line(f"  refused {what}: {count}")
    for crash in found.crashes:
        died = crash.signal or "an unknown cause"
        print_line(f"  kernel {crash.digest[:12]} died here of: {died}; remove {crash.marker} to have it tried again")


def _short(found: "Sequence[KernelRecord]") -> list[dict[str, object]]:
    return [
        dataclasses.asdict(kernel)
        | {"digest": kernel.digest[:12], "names": ", ".join(kernel.names), "tags": ", ".join(kernel.tags)}
        for kernel in found
    ]


def _print_state(digest: KernelDigest, state: str, *, as_json: bool) -> None:
    print_done({"digest": digest, "state": state}, f"kernel {digest} is {state}", as_json=as_json)
