"""`morph metrics`: serve."""

from typing import Annotated

import typer

from morph_assets.cli.output import print_line
from morph_assets.cli.platform_session import open_platform

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
    """Serve the metrics at /metrics until interrupted.

    Example: morph metrics serve --port 9464
    """
    from morph_assets.observability.exporter import serve_metrics

    with open_platform(as_json=False) as platform:
        server, thread = serve_metrics(platform.counts, port=port, address=address)
        print_line(f"serving http://{address}:{server.server_port}/metrics")
        try:
            thread.join()
        except KeyboardInterrupt:
            server.shutdown()
        finally:
            server.server_close()
