"""The table of all commands: one line each, `module:attribute` imported only when the command is used.

The attribute is a function (one command) or a `typer.Typer` (a group of commands).
"""

from typing import NamedTuple


class CommandEntry(NamedTuple):
    """One command or group of `morph`."""

    name: str
    target: str
    help: str


COMMANDS = (
    CommandEntry("up", "morph_assets.cli.services:up", "Start the embedded servers, or check your own."),
    CommandEntry("down", "morph_assets.cli.services:down", "Stop the embedded servers."),
    CommandEntry("status", "morph_assets.cli.services:status", "Show what runs."),
    CommandEntry("logs", "morph_assets.cli.services:logs", "Show the servers' logs."),
    CommandEntry("env", "morph_assets.cli.services:env", 'Print the variables for other shells: eval "$(morph env)".'),
    CommandEntry("blueprint", "morph_assets.cli.blueprint:app", "Submit and show designs of modules."),
    CommandEntry("kernel", "morph_assets.cli.kernel:app", "Compile, evaluate, publish and find kernels."),
    CommandEntry("lineage", "morph_assets.cli.lineage:app", "Show where things came from, and what needs them."),
    CommandEntry("cache", "morph_assets.cli.cache:app", "Measure, warm, evict and scrub the caches."),
    CommandEntry("policy", "morph_assets.cli.policy:app", "Show and set the rules by which kernels go."),
    CommandEntry("quota", "morph_assets.cli.quota:app", "Show, lower and raise what the tenant may use."),
    CommandEntry("usage", "morph_assets.cli.usage:usage", "Show what builds, storage and deliveries cost."),
    CommandEntry("audit", "morph_assets.cli.audit:app", "Verify and export the log of what happened."),
    CommandEntry("registry", "morph_assets.cli.registry:app", "Check the registry against its log, or write it anew."),
    CommandEntry("trust", "morph_assets.cli.trust:app", "Show and change whose signatures are believed."),
    CommandEntry("backup", "morph_assets.cli.backup:backup", "Save the whole platform into a folder."),
    CommandEntry("restore", "morph_assets.cli.backup:restore", "Bring a saved platform back into an empty place."),
    CommandEntry("upgrade", "morph_assets.cli.upgrade:upgrade", "Back up, migrate and check."),
    CommandEntry("gc", "morph_assets.cli.gc:app", "Delete history that nothing needs any more."),
    CommandEntry("metrics", "morph_assets.cli.metrics:app", "Serve Prometheus metrics."),
    CommandEntry("bench", "morph_assets.cli.bench:app", "Measure this machine against the goals."),
    CommandEntry("doctor", "morph_assets.cli.doctor:doctor", "Check this machine, each finding with what to do."),
    CommandEntry("demo", "morph_assets.cli.demo:demo", "Play the main job, end to end."),
    CommandEntry("dev", "morph_assets.cli.dev:dev", "Serve Dagster's user interface and run its daemon."),
)
