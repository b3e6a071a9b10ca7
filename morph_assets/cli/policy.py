"""`morph policy`: list, set."""

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.moments import DAY_S, MAX_GRACE_DAYS
from morph_assets.cli.output import print_json, print_line, print_listing
from morph_assets.cli.platform_session import JsonOption, open_platform

if TYPE_CHECKING:
    from morph_assets.registry.retention import PolicyKind

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The rules by which kernels go.")


def _parse_version(text: str) -> str:
    if re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,3}", text, re.ASCII) is None:
        raise typer.BadParameter(f"{text!r} is no version: give 2.13 or 2.13.0")
    return text


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List the retention policies.

    Example: morph policy list
    """
    with open_platform(as_json=as_json) as platform:
        found = [dataclasses.asdict(policy) for policy in platform.list_policies()]
    print_listing(found, as_json=as_json)


@app.command("set")
def set_(  # noqa: PLR0917 - options, given by name on the command line
    name: Annotated[str, typer.Argument(help="The policy's name.")],
    unused_days: Annotated[
        int | None, typer.Option(min=0, max=99999, help="Take what nobody used for so long.")
    ] = None,
    slower_percent: Annotated[
        int | None, typer.Option(min=0, max=9999, help="Take what another kernel of the target outruns by so much.")
    ] = None,
    keep_releases: Annotated[
        int | None, typer.Option(min=1, max=99999, help="Take what so many newer releases supersede.")
    ] = None,
    oldest_torch: Annotated[
        str | None,
        typer.Option(parser=_parse_version, metavar="VERSION", help="Take what was built with an older torch."),
    ] = None,
    grace_days: Annotated[int, typer.Option(min=0, max=MAX_GRACE_DAYS, help="For so long it can be restored.")] = 7,
    disable: Annotated[bool, typer.Option("--disable", help="Keep the policy, but let it take nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make or change one policy, with the option of its kind; nothing goes before the next curation.

    Example: morph policy set idle --unused-days 90 --grace-days 14
    """
    given: dict[PolicyKind, tuple[str, int | str | None]] = {
        "unused": ("days", unused_days),
        "slower": ("percent", slower_percent),
        "superseded": ("keep", keep_releases),
        "outdated_toolchain": ("torch", oldest_torch),
    }
    chosen = [(kind, {key: value}) for kind, (key, value) in given.items() if value is not None]
    if len(chosen) != 1:
        raise typer.BadParameter("give one of --unused-days, --slower-percent, --keep-releases and --oldest-torch")
    ((kind, parameters),) = chosen
    with open_platform(as_json=as_json) as platform:
        policy = platform.set_policy(name, kind, parameters, grace_s=grace_days * DAY_S, enabled=not disable)
    if as_json:
        print_json(dataclasses.asdict(policy))
    else:
        print_line(f"policy {name}: {kind} {parameters}, {'enabled' if policy.enabled else 'disabled'}")
