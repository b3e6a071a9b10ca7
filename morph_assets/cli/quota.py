"""`morph quota`: list, set."""

import dataclasses
from typing import Annotated

import typer

from morph_assets.cli.output import print_json, print_line, print_listing
from morph_assets.cli.platform_session import JsonOption, open_platform

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="How much the tenant may use, and how much it does."
)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List the limits and what is used of them; builds are those of today (UTC).

    Example: morph quota list
    """
    with open_platform(as_json=as_json) as platform:
        found = [dataclasses.asdict(quota) for quota in platform.list_quotas()]
    print_listing(found, as_json=as_json)


@app.command("set")
def set_(
    resource: Annotated[str, typer.Argument(help="As `morph quota list` names it.")],
    hard_limit: Annotated[int, typer.Argument(min=0, help="The new limit; a tenant's admin can only lower it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")],
    as_json: JsonOption = False,
) -> None:
    """Lower a limit; only the operator, who owns the database, raises one.

    Example: morph quota set builds_per_day 200 --reason "until the budget is decided"
    """
    with open_platform(as_json=as_json) as platform:
        before = platform.set_quota(resource, hard_limit, reason=reason)
    if as_json:
        print_json({"resource": resource, "before": before, "hard_limit": hard_limit})
    else:
        print_line(f"{resource}: {before} before, {hard_limit} from now on")
