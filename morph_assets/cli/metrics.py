"""`morph metrics`: serve."""

import signal
from typing import Annotated, Final

import typer

from morph_assets.cli.output import print_line
from morph_assets.cli.platform_session import open_platform

_STOP: Final = frozenset({signal.SIGINT, signal.SIGTERM})

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prometheus metrics of the platform.")


@app.callback()
def metrics() -> None:
    """Prometheus metrics of the platform.

    Example: morph metrics serve
    """


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 lets the system choose.")] = 9464,
    address: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the metrics at /metrics until interrupted or terminated.

    Example: morph metrics serve --port 9464
    """
    from morph_assets.observability.exporter import serve_metrics

    # Blocked and waited for: a shell in the background hands down that they are ignored, and then no handler would run.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    with open_platform(as_json=False) as platform:
        server, _ = serve_metrics(platform.counts, port=port, address=address)
        print_line(f"serving http://{address}:{server.server_port}/metrics")
        signal.sigwait(_STOP)
        server.shutdown()
        server.server_close()
