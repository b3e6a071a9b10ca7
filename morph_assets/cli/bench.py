"""`morph bench`: how fast this machine does it, each benchmark on servers of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.output import print_error, print_json, print_line, print_table

if TYPE_CHECKING:
    from morph_assets.bench.result import BenchResult

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Measure this machine, with a goal for each number."
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KernelsOption = Annotated[
    Path | None, typer.Option(help="Where the compiled kernel is kept between runs; ~/.cache/morph/bench by default.")
]
PeersOption = Annotated[bool, typer.Option("--peers/--no-peers", help="Measure torch.compile's caches beside it.")]


@app.callback()
def bench() -> None:
    """Measure this machine: `morph bench NAME`."""
    import signal
    import sys

    # Asked to end, a benchmark takes its servers and their folder with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@app.command()
def registry(
    kernels: Annotated[
        int, typer.Option(min=1, help="How many kernels there are; 1000000 is the real measure.")
    ] = 5000,
    tenants: Annotated[int, typer.Option(min=1, help="Of how many tenants.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Measure searches, bulk load, lineage, publishing and audit; touches no platform that runs.

    Example: morph bench registry --kernels 1000000 --tenants 5 --json
    """
    from morph_assets.bench.registry_bench import RegistrySize, bench_registry

    print_result(bench_registry(RegistrySize.of(kernels, tenants), say=print_error), as_json=as_json)


@app.command()
def eviction(
    traces: Annotated[int, typer.Option(min=1, help="How many made-up loads.")] = 5,
    requests: Annotated[int, typer.Option(min=1, help="How many requests each of them has.")] = 12_000,
    as_json: JsonOption = False,
) -> None:
    """Replay made-up loads: what our choice of what to drop saves, against LRU, LFU and knowing the future.

    Example: morph bench eviction --json
    """
    from morph_assets.bench.eviction_bench import bench_eviction
    from morph_assets.bench.eviction_traces import TraceShape

    print_result(bench_eviction(TraceShape(requests=requests), traces=traces), as_json=as_json)


@app.command()
def faults(
    rounds: Annotated[int, typer.Option(min=1, help="How often each fault is tried.")] = 5,
    kill_every: Annotated[int, typer.Option(min=1, help="Kill a process in every Nth change of the disk.")] = 1,
    kernels: KernelsOption = None,
    peers: PeersOption = True,
    as_json: JsonOption = False,
) -> None:
    """Break every cache tier in every way: what a load answers then, and what it costs over a healthy load.

    Example: morph bench faults --json
    """
    from morph_assets.bench.bench_kernel import build_bench_kernel
    from morph_assets.bench.faults_bench import FaultsSize, bench_faults

    kernel = build_bench_kernel(kernels or _kernels_folder())
    print_result(bench_faults(kernel, FaultsSize(rounds, kill_every, peers=peers), say=print_error), as_json=as_json)


@app.command()
def load(
    rounds: Annotated[int, typer.Option(min=1, help="How often each way to a first step is taken.")] = 5,
    kernels: KernelsOption = None,
    peers: PeersOption = True,
    as_json: JsonOption = False,
) -> None:
    """Measure a fresh job's way to its first gradients: from each cache tier, eager, through torch.compile.

    Example: morph bench load --json
    """
    from morph_assets.bench.bench_kernel import build_bench_kernel
    from morph_assets.bench.load_bench import LoadSize, bench_load

    size = LoadSize(rounds, compiled_rounds=(rounds + 1) // 2 if peers else 0)
    kernel = build_bench_kernel(kernels or _kernels_folder())
    print_result(bench_load(kernel, size, say=print_error), as_json=as_json)


@app.command()
def checkpoint(  # noqa: PLR0917 - options, given by name
    megabytes: Annotated[float, typer.Option(min=1, help="How much the training state weighs.")] = 200.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way saves and restores.")] = 5,
    window_s: Annotated[float, typer.Option(min=0.01, help="How many seconds of training stand beside a save.")] = 2.0,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="On which disk; that of temporary files by default."),
    ] = None,
    registry: Annotated[bool, typer.Option("--registry/--no-registry", help="Commit to a real registry too.")] = True,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Measure others' ways beside it.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Measure saving and restoring a training run, beside torch's own ways, and what an acknowledged save is worth.

    Example: morph bench checkpoint --megabytes 200 --json
    """
    from morph_assets.bench.checkpoint_bench import CheckpointSize, bench_checkpoint

    size = CheckpointSize(megabytes, rounds, window_s, registry=registry, peers=peers)
    print_result(bench_checkpoint(size, folder=folder, say=print_error), as_json=as_json)


def _kernels_folder() -> Path:
    return Path.home() / ".cache" / "morph" / "bench"


def print_result(result: "BenchResult", *, as_json: bool) -> None:
    """Print what any benchmark found; exit status 1 is for what broke, not for a goal that was missed."""
    if as_json:
        print_json(result.to_document())
        return
    print_line(", ".join(f"{name} {value}" for name, value in result.machine.items()))
    columns = ("case", "metric", "median", "min", "max", "unit", "goal", "holds", "answer")
    print_table(columns, [[getattr(row, column) for column in columns] for row in result.rows], title=result.bench)
    print_line("every goal is met" if result.holds else "not every goal is met")
