"""`morph kernel import | export`: kernels by the thousand, from one registry to another."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from morph_assets.cli.output import print_json, print_line
from morph_assets.cli.platform_session import JsonOption, open_platform
from morph_kernels.durable_file import open_replacement

BundlesOption = Annotated[Path | None, typer.Option(help="A folder for the kernels' bytes, a file each.")]


def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A manifest that `export` wrote.")],
    bundles: BundlesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in exported kernels, each judged by its signatures; what is there already is left out.

    Example: morph kernel import library.jsonl --bundles library/
    """
    from morph_assets.registry.import_manifest import MAX_LINE_BYTES

    with open_platform(as_json=as_json) as platform, file.open("rb") as manifest:
        # One byte more than a line may have, and its end: so a longer one is refused before it is read whole.
        lines = iter(partial(manifest.readline, MAX_LINE_BYTES + 2), b"")
        taken = platform.import_kernels(lines, bundles=bundles)
    if as_json:
        print_json(dataclasses.asdict(taken))
        return
    print_line(
        f"{taken.kernels} kernels and {taken.releases} releases taken in, in {taken.batches} batches;"
        f" {taken.present} kernels were there already"
    )


def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write the manifest.")],
    bundles: BundlesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write every validated kernel with what vouches for it, for an import elsewhere under the same tenant and trust.

    Example: morph kernel export library.jsonl --bundles library/
    """
    written = 0
    with open_platform(as_json=as_json) as platform, open_replacement(file) as out:
        if bundles is not None:
            bundles.mkdir(mode=0o700, parents=True, exist_ok=True)
        for line in platform.export_kernels(bundles=bundles):
            out.write(line)
            written += 1
    if as_json:
        print_json({"file": str(file), "lines": written})
    else:
        print_line(f"{written - 1} releases and kernels written to {file}")
