"""`morph trust`: list, root, add, rotate, revoke."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.output import print_error, print_json, print_line, print_listing, progress_bar
from morph_assets.cli.platform_session import JsonOption, open_platform
from morph_kernels.artifact.roles import Role

if TYPE_CHECKING:
    from morph_assets.usecases.change_trust import ChangedTrust
    from morph_kernels.artifact.trust_policy import TrustedKey, TrustPolicy

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Whose signatures are believed.")
_MAX_DAYS = 36_500
RoleArgument = Annotated[Role, typer.Argument(help="Whose key; the root's is what hosts pin, and stays.")]


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
            "state": _state(policy, key),
        }
        for key in policy.keys.values()
    ]
    print_listing(sorted(keys, key=lambda key: (str(key["role"]), str(key["not_before"]))), as_json=as_json)


@app.command()
def root(as_json: JsonOption = False) -> None:
    """Print the root's public key, by which other hosts pin the trust file (`MORPH_TRUST_ROOT`).

    Example: morph trust root
    """
    with open_platform(as_json=as_json) as platform:
        policy = platform.trust()
    if as_json:
        print_json({"root": policy.root_public_hex, "version": policy.version, "issued_at": policy.issued_at})
    else:
        print_line(policy.root_public_hex)


@app.command()
def add(
    role: RoleArgument,
    public_key: Annotated[str, typer.Argument(help="The public half, 64 hexadecimal digits; never the private one.")],
    days: Annotated[int, typer.Option(min=1, max=_MAX_DAYS, help="For so long it is believed.")] = 365,
    as_json: JsonOption = False,
) -> None:
    """Trust a key that another host made and keeps, in one role.

    Example: morph trust add trainer 3f9a...c2 --days 90
    """
    with open_platform(as_json=as_json) as platform:
        changed = platform.add_trusted_key(role, public_key, valid_for=timedelta(days=days))
    _print_changed(changed, f"key {changed.keyid} is believed as the {role}'s", as_json=as_json)


@app.command()
def rotate(
    role: RoleArgument,
    overlap_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=_MAX_DAYS,
            help="So long the key before is believed: 7 for the publisher, whose indexes are signed anew; for the "
            "others to its own end, because what they signed cannot be.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a role's next key: it signs at once, and the one before is believed for an overlap.

    Copy the trust file to the other hosts within the overlap. A rotation that was killed is ended by the next.

    Example: morph trust rotate publisher --overlap-days 14
    """
    overlap = None if overlap_days is None else timedelta(days=overlap_days)
    with open_platform(as_json=as_json) as platform:
        changed = platform.rotate_trusted_key(role, progress_bar, overlap=overlap)
    line = f"key {changed.keyid} signs as the {role}"
    if changed.old_until is not None:
        line += f"; {str(changed.old_keyid)[:12]} is believed until {changed.old_until:%Y-%m-%d %H:%M} UTC"
    _print_changed(changed, line, as_json=as_json)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, or its first digits.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")],
    as_json: JsonOption = False,
) -> None:
    """Take a key out now, for good; what only it vouched for is refused.

    Where it signs here, its role gets another key at once, and the publisher's indexes are published by that one.

    Example: morph trust revoke 3f9a77d01b2c --reason "laptop stolen"
    """
    with open_platform(as_json=as_json) as platform:
        changed = platform.revoke_trusted_key(key, reason, progress_bar)
    line = f"key {changed.keyid} of the {changed.role} is revoked"
    if changed.signs_now is not None:
        line += f"; key {changed.signs_now[:12]} signs now"
    _print_changed(changed, line, as_json=as_json)


def _print_changed(changed: "ChangedTrust", line: str, *, as_json: bool) -> None:
    """Say what was done; exit status 1 where the indexes do not follow yet."""
    if as_json:
        print_json(dataclasses.asdict(changed))
    else:
        print_line(f"{line}; the trust file is version {changed.version}: copy it to the other hosts")
        if changed.renewed:
            print_line(f"{len(changed.renewed)} indexes were published anew")
        for digest in changed.unvouched:
            print_line(f"nobody vouches for {digest} any more: build it again, or `morph kernel revoke` it")
    if not changed.told:
        print_error("the audit log could not be told of it")
    if changed.problem is not None:
        rest = (
            "run it again" if changed.role != Role.PUBLISHER else "the index relay publishes the others (`morph dev`)"
        )
        print_error(f"trust is changed, but not everything followed: {changed.problem}; {rest}")
        raise typer.Exit(1)


def _state(policy: "TrustPolicy", key: "TrustedKey") -> str:
    now = datetime.now(UTC)
    if key.keyid in policy.revoked:
        return "revoked"
    if now > key.not_after:
        return "ended"
    return "valid" if now >= key.not_before else "not yet"
