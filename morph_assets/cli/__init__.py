"""The command line, one file a command group.

Not here: work; it calls use cases and prints.
"""


def main() -> None:
    """Run `morph` with the arguments of this process."""
    from morph_assets.cli.root import run

    run()
