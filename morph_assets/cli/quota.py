"""`morph quota`: list, set, raise."""

import dataclasses
from typing import Annotated

import typer

from morph_assets.cli.output import print_json, print_line, print_listing
from morph_assets.cli.platform_session import JsonOption, explained_errors, open_platform
from morph_assets.config import read_folders

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="How much the tenant may use, and how much it does."
)


ResourceArgument = Annotated[str, typer.Argument(help="As `morph quota list` names it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")]


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
    resource: ResourceArgument,
    hard_limit: Annotated[
        int, typer.Argument(min=0, max=2**63 - 1, help="The new limit; a tenant's admin can only lower it.")
    ],
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Lower a limit, as the tenant's admin; `morph quota raise` raises one.

    Example: morph quota set builds_per_day 200 --reason "until the budget is decided"
    """
    with open_platform(as_json=as_json) as platform:
        before = platform.set_quota(resource, hard_limit, reason=reason)
    _print_change(resource, before, hard_limit, as_json=as_json)


@app.command("raise")
def raise_(
    resource: ResourceArgument,
    hard_limit: Annotated[int, typer.Argument(min=0, max=2**63 - 1, help="The new limit.")],
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Raise a limit, as the operator, who owns the schema: MORPH_OPERATOR_DATABASE_URL, or the embedded servers' home.

    Example: morph quota raise builds_per_day 20000 --reason "the new cluster"
    """
    from morph_assets.connections import Connections
    from morph_assets.usecases.find_operator_access import find_operator_database
    from morph_assets.usecases.raise_quota import raise_quota

    with explained_errors(as_json=as_json), Connections.open() as connections:
        operator = find_operator_database(read_folders())
        before = raise_quota(connections, operator, resource, hard_limit, reason=reason)
    _print_change(resource, before, hard_limit, as_json=as_json)


def _print_change(resource: str, before: int, hard_limit: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"resource": resource, "before": before, "hard_limit": hard_limit})
    else:
        print_line(f"{resource}: {before} before, {hard_limit} from now on")
