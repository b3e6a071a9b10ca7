"""`morph blueprint`: submit, list, show, and the history of aliases."""

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from morph_assets.cli.moments import parse_moment
from morph_assets.cli.output import print_json, print_line, print_listing, print_table
from morph_assets.cli.platform_session import JsonOption, open_platform

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Designs of modules, by name and release.")
NameArgument = Annotated[str, typer.Argument(help="The blueprint's name.")]
AliasOption = Annotated[str, typer.Option(help="One of its aliases.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")]


@app.command()
def submit(
    files: Annotated[list[Path] | None, typer.Argument(help="Yaml files.")] = None,
    library: Annotated[bool, typer.Option("--library", help="Submit the blueprints that come with Morph.")] = False,
    tag: Annotated[list[str] | None, typer.Option(help="A tag beside the file's own; may be repeated.")] = None,
    author: Annotated[str | None, typer.Option(help="Who made it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Release blueprints under their names; the same design twice is one release.

    Example: morph blueprint submit ffn_gelu.yaml --tag mlp
    """
    from morph_kernels.blueprint import library_paths

    sources = [*(files or ()), *(library_paths() if library else ())]
    if not sources:
        raise typer.BadParameter("name a yaml file, or use --library")
    with open_platform(as_json=as_json) as platform:
        releases = [platform.submit_blueprint(path, tags=tuple(tag or ()), author=author) for path in sources]
    if as_json:
        print_json([dataclasses.asdict(release) for release in releases])
        return
    for release in releases:
        verb = "submitted" if release.created else "already there"
        print_line(f"{release.name}@{release.version} {verb} ({release.blueprint_digest[:12]})")


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List the newest release of every blueprint.

    Example: morph blueprint list --json
    """
    with open_platform(as_json=as_json) as platform:
        found = [dataclasses.asdict(release) for release in platform.list_blueprints()]
    columns = ("name", "version", "state", "aliases", "tags", "author", "created_at")
    print_listing(found, as_json=as_json, columns=columns)


@app.command()
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show a blueprint's interface, releases and kernels.

    Example: morph blueprint show ffn_gelu
    """
    with open_platform(as_json=as_json) as platform:
        shown = platform.show_blueprint(name)
    if as_json:
        document = {
            "name": name,
            "digest": shown.blueprint.digest,
            "document": shown.blueprint.document,
            "parameter_bytes": shown.blueprint.parameter_bytes,
            "releases": [dataclasses.asdict(release) for release in shown.releases],
            "kernels": [dataclasses.asdict(kernel) for kernel in shown.kernels],
        }
        print_json(document)
        return
    print_line(f"{name} {shown.blueprint.digest}")
    for kind, specs in (("in", shown.blueprint.interface.inputs), ("out", shown.blueprint.interface.outputs)):
        for spec in specs:
            print_line(f"  {kind:3} {spec.name}: {spec.dtype} [{', '.join(str(size) for size in spec.shape)}]")
    for symbol, size in shown.blueprint.interface.symbols.items():
        print_line(f"  {symbol}: {size.min} to {size.max}")
    releases = [
        (r.version, r.state, ", ".join(r.aliases), r.blueprint_digest[:12], r.created_at) for r in shown.releases
    ]
    print_table(("release", "state", "aliases", "digest", "created_at"), releases)
    kernels = [(k.digest[:12], k.state, k.isa, k.speed_ratio, ", ".join(k.tags)) for k in shown.kernels]
    print_table(("kernel", "state", "isa", "speed_ratio", "tags"), kernels)


@app.command()
def history(
    name: NameArgument,
    alias: AliasOption = "production",
    at: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, help="Only where it pointed at this moment (UTC if no offset)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where an alias pointed, and since when; with --at what it was at one moment (exit status 1: nothing).

    Example: morph blueprint history ffn_gelu --at 2026-11-23T14:02
    """
    with open_platform(as_json=as_json) as platform:
        moves = platform.trace_alias(name, alias, at=at)
    found = [dataclasses.asdict(move) for move in moves]
    columns = ("moved_at", "alias", "version", "rolled_back", "actor", "since_seq")
    print_listing(found, as_json=as_json, columns=columns)
    if at is not None and not found:
        raise typer.Exit(1)


@app.command()
def freeze(
    name: NameArgument, reason: ReasonOption, alias: AliasOption = "production", as_json: JsonOption = False
) -> None:
    """Keep an alias where it points, until it is unfrozen.

    Example: morph blueprint freeze ffn_gelu --reason "release week"
    """
    with open_platform(as_json=as_json) as platform:
        changed = platform.freeze_alias(name, alias, reason=reason)
    _print_frozen(name, alias, frozen=True, changed=changed, as_json=as_json)


@app.command()
def unfreeze(
    name: NameArgument, reason: ReasonOption, alias: AliasOption = "production", as_json: JsonOption = False
) -> None:
    """Let a frozen alias move again.

    Example: morph blueprint unfreeze ffn_gelu --reason "release week is over"
    """
    with open_platform(as_json=as_json) as platform:
        changed = platform.unfreeze_alias(name, alias, reason=reason)
    _print_frozen(name, alias, frozen=False, changed=changed, as_json=as_json)


def _print_frozen(name: str, alias: str, *, frozen: bool, changed: bool, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "alias": alias, "frozen": frozen, "changed": changed})
        return
    print_line(f"{name}@{alias} {'is frozen' if frozen else 'moves again'}{'' if changed else ', as before'}")
