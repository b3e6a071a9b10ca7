"""`morph demo`: the main job, end to end."""

from pathlib import Path
from typing import Annotated, Any

import typer

from morph_assets.cli.output import print_json, print_line, print_table, progress_bar
from morph_assets.config import enter_environment, read_external, read_folders, read_tenant

KernelsArgument = Annotated[list[str] | None, typer.Argument(help="Blueprints of the library; all of them by default.")]


def demo(
    kernels: KernelsArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Build, prove and publish the library, then grow a network with it that is killed and comes back bit for bit.

    Starts the embedded servers if none runs. Builds take about half a minute each, once; a second demo builds nothing.
    Writes summary.json and a picture of the training under $MORPH_HOME/demo.

    Example: morph demo
    """
    from morph_assets.demo.stage import play_demo

    _start_servers()
    summary, folder = play_demo(kernels or [], progress_bar)
    document = summary.to_document()
    if as_json:
        print_json(document)
    else:
        _print_summary(document, folder)
    if not summary.holds:
        raise typer.Exit(1)


def _start_servers() -> None:
    """Bring the embedded servers up, and let this process find them and Dagster's instance."""
    if read_external().is_production:
        return
    from morph_assets.usecases.prepare_dagster import prepare_dagster
    from morph_assets.usecases.read_environment import read_environment
    from morph_assets.usecases.start_platform import start_platform

    folders = read_folders()
    start_platform(folders, tenant=read_tenant())
    prepare_dagster(folders)
    enter_environment(read_environment(folders))


def _print_summary(document: dict[str, Any], folder: Path) -> None:
    columns = {
        "kernel": "name",
        "target": "target",
        "build s": "build_s",
        "load ms": "load_ms",
        "from": "load_source",
        "step us": "step_compiled_us",
        "eager us": "step_eager_us",
        "worst gradient error": "worst_gradient_error",
        "digest": "digest",
    }
    rows = [[_shown(kernel[field]) for field in columns.values()] for kernel in document["kernels"]]
    print_table(list(columns), rows)
    same = "bit for bit the uninterrupted run" if document["recovered_bitwise"] else "NOT the uninterrupted run"
    print_line(
        f"killed after epoch {document['killed_after_epoch']} of {document['epochs']}, training again after "
        f"{document['recovery_s']:.1f} s; the end is {same}"
    )
    print_line(
        f"test accuracy {document['accuracy_before']:.1%} before the first graft, {document['test_accuracy']:.1%} at "
        f"the end, with {document['compiled_bodies']} compiled kernels; {document['wall_s']:.0f} s in all"
    )
    print_line(f"facts and picture: {folder}")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2g}" if abs(value) < 0.01 else f"{value:.1f}"  # noqa: PLR2004 - small errors want their digits
    return str(value)[:12] if isinstance(value, str) and len(value) > 30 else str(value)  # noqa: PLR2004 - a digest
