"""`morph trust`: list."""

import typer

from morph_assets.cli.output import print_listing
from morph_assets.cli.platform_session import JsonOption, open_platform

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Whose signatures are believed.")


@app.callback()
def trust() -> None:
    """Whose signatures are believed.

    Example: morph trust list
    """


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List the keys of the trust file: role, validity, and whether revoked.

    Example: morph trust list --json
    """
    with open_platform(as_json=as_json) as platform:
        policy = platform.trust()
    keys = [
        {
            "role": str(key.role),
            "keyid": key.keyid,
            "not_before": key.not_before,
            "not_after": key.not_after,
            "development": key.development,
            "revoked": key.keyid in policy.revoked,
        }
        for key in policy.keys.values()
    ]
    print_listing(sorted(keys, key=lambda key: str(key["role"])), as_json=as_json)
