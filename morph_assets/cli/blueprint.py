"""`morph blueprint`: submit, list, show."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from morph_assets.cli.output import print_json, print_line, print_listing, print_table
from morph_assets.cli.platform_session import JsonOption, open_platform

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Designs of modules, by name and release.")


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
def show(name: Annotated[str, typer.Argument(help="The blueprint's name.")], as_json: JsonOption = False) -> None:
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
