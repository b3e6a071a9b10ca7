"""`morph kernel search`: kernels by what they are and what they take, best first, each with its reason."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.output import print_json, print_line, print_table
from morph_assets.cli.platform_session import JsonOption, open_platform
from morph_assets.registry.kernel_state import KernelState

if TYPE_CHECKING:
    from morph_assets.registry.search import KernelPage

_HERE = "here"
_COLUMNS = ("names", "digest", "state", "isa", "why")


def search(  # noqa: PLR0917 - options, given by name on the command line
    blueprint: Annotated[str | None, typer.Option(help="Only kernels of this blueprint: a name or a digest.")] = None,
    descends_from: Annotated[str | None, typer.Option(help="Only of blueprints derived from this one.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that it must have; may be repeated.")] = None,
    prefer: Annotated[list[str] | None, typer.Option(help="Those with the most of these come first; repeat.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="A tag that it must not have; may be repeated.")] = None,
    max_latency_us: Annotated[float | None, typer.Option(help="At most this long a training step.")] = None,
    max_memory_bytes: Annotated[int | None, typer.Option(help="At most this much memory.")] = None,
    max_risk: Annotated[
        float | None, typer.Option(help="0 is far from every limit of the evaluation, 1 at one.")
    ] = None,
    max_size_bytes: Annotated[int | None, typer.Option(help="At most this large.")] = None,
    device: Annotated[str | None, typer.Option(help="Only for this device: cpu or cuda.")] = None,
    isa: Annotated[str | None, typer.Option(help="Only for this instruction set.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Only for this type of numbers.")] = None,
    state: Annotated[list[KernelState] | None, typer.Option(help="In this state; else VALIDATED, PUBLISHED.")] = None,
    hardware: Annotated[str | None, typer.Option(help="By latencies measured on it; `here` is this machine.")] = None,
    shape_class: Annotated[str | None, typer.Option(help="By latencies of these shapes, on --hardware.")] = None,
    page_size: Annotated[int, typer.Option(help="How many kernels to show, at most 1000.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page of the same search ended.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find validated kernels: most preferred tags first, then least latency, then least risk.

    Example: morph kernel search --tag mlp --prefer speed:faster --without op:dropout --max-latency-us 500
    """
    from morph_assets.registry.search import KernelQuery

    query = KernelQuery(
        blueprint=blueprint,
        descends_from=descends_from,
        required=tuple(tag or ()),
        preferred=tuple(prefer or ()),
        excluded=tuple(without or ()),
        max_latency_us=max_latency_us,
        max_memory_bytes=max_memory_bytes,
        max_risk=max_risk,
        max_size_bytes=max_size_bytes,
        device=device,
        isa=isa,
        dtype=dtype,
        states=tuple(state or ()),
        hardware=_hardware(hardware),
        shape_class=shape_class,
    )
    with open_platform(as_json=as_json) as platform:
        page = platform.search(query, limit=page_size, cursor=cursor)
    if as_json:
        print_json({"query": query.to_document(), "hits": _documents(page), "next_cursor": page.next_cursor})
        return
    rows = [(", ".join(h.names), h.digest[:12], h.state, h.target.get("isa"), str(h.reason)) for h in page.hits]
    print_table(_COLUMNS, rows)
    if page.next_cursor is not None:
        print_line(f"more: the same search with --cursor {page.next_cursor}")


def _documents(page: "KernelPage") -> list[dict[str, object]]:
    return [dataclasses.asdict(hit) | {"why": str(hit.reason)} for hit in page.hits]


def _hardware(named: str | None) -> str | None:
    if named != _HERE:
        return named
    from morph_kernels.artifact.host import current_hardware

    return current_hardware()
