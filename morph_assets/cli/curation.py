"""The commands of `morph kernel` that keep kernels, take them away and bring them back."""

import dataclasses
from datetime import datetime
from typing import Annotated

import typer

from morph_assets.cli.moments import DAY_S, MAX_GRACE_DAYS, parse_moment
from morph_assets.cli.output import print_json, print_line, print_table
from morph_assets.cli.platform_session import JsonOption, open_platform

app = typer.Typer(rich_markup_mode=None)
WhatArgument = Annotated[str, typer.Argument(help="A kernel's digest, or name, name@3, name@production.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")]


@app.command()
def pin(
    what: WhatArgument,
    reason: ReasonOption,
    until: Annotated[datetime | None, typer.Option(parser=parse_moment, help="For good by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a kernel from being retired and removed.

    Example: morph kernel pin ffn_gelu@production --reason "paper in review" --until 2027-01-31
    """
    from morph_assets.registry.kernels import kernel_subject

    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        platform.pin(kernel_subject(digest), reason=reason, until=until)
    print_done({"digest": digest, "pinned": True}, f"kernel {digest} is pinned", as_json=as_json)


@app.command()
def unpin(what: WhatArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Let a pinned kernel go its way again.

    Example: morph kernel unpin ffn_gelu@production --reason "paper is out"
    """
    from morph_assets.registry.kernels import kernel_subject

    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        was = platform.unpin(kernel_subject(digest), reason=reason)
    line = f"kernel {digest} is pinned no more" if was else f"kernel {digest} was not pinned"
    print_done({"digest": digest, "pinned": False, "changed": was}, line, as_json=as_json)


@app.command()
def approve(what: WhatArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Let a speculative kernel be published, as a curator.

    Example: morph kernel approve 4fd1...a9 --reason "ran a week on staging"
    """
    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        platform.approve_kernel(digest, reason=reason)
    print_done({"digest": digest, "approved": True}, f"kernel {digest} may be published", as_json=as_json)


@app.command()
def reject(what: WhatArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Keep a speculative kernel from being published, as a curator.

    Example: morph kernel reject 4fd1...a9 --reason "slower where it counts"
    """
    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        platform.decline_kernel(digest, reason=reason)
    print_done({"digest": digest, "approved": False}, f"kernel {digest} is not published", as_json=as_json)


@app.command()
def retire(
    what: WhatArgument,
    reason: ReasonOption,
    grace_days: Annotated[int, typer.Option(min=0, max=MAX_GRACE_DAYS, help="For so long it can be restored.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Take a kernel out of use; after its grace the next curation removes it.

    Example: morph kernel retire ffn_gelu@1 --reason "nobody uses it" --grace-days 30
    """
    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        platform.retire_kernel(digest, reason=reason, grace_s=grace_days * DAY_S)
    print_done({"digest": digest, "state": "RETIRED"}, f"kernel {digest} is RETIRED", as_json=as_json)


@app.command()
def restore(what: WhatArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Bring a retired kernel back within its grace; what was published has to be published again.

    Example: morph kernel restore 4fd1...a9 --reason "a run needs it"
    """
    with open_platform(as_json=as_json) as platform:
        digest = platform.find_kernel(what).digest
        state = platform.restore_kernel(digest, reason=reason)
    print_done({"digest": digest, "state": state}, f"kernel {digest} is {state} again", as_json=as_json)


@app.command()
def curate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Retire what a policy takes, and remove for good what was retired before and not restored.

    Example: morph kernel curate --dry-run
    """
    with open_platform(as_json=as_json) as platform:
        report = platform.curate_kernels(dry_run=dry_run)
    if as_json:
        facts = {"dry_run": dry_run, "frees_bytes": report.frees_bytes, "freed_bytes": report.freed_bytes}
        print_json(facts | {"kernels": [dataclasses.asdict(kernel) for kernel in report.kernels]})
        return
    rows = [(k.digest[:12], ", ".join(k.names), k.decision, k.because, k.policy, k.store_bytes) for k in report.kernels]
    print_table(("kernel", "names", "decision", "because", "policy", "bytes"), rows)
    would = "would be " if dry_run else ""
    print_line(
        f"{report.count('retired')} {would}retired, {report.count('tombstoned')} were before"
        f" ({report.frees_bytes} bytes after their grace); {report.count('purged')} {would}removed"
        f" ({report.freed_bytes} bytes), {report.count('refused')} refused, {report.count('kept')} stay"
    )


def print_done(document: dict[str, object], line: str, *, as_json: bool) -> None:
    """Print what a command did, as a document or as a line."""
    if as_json:
        print_json(document)
    else:
        print_line(line)
