"""Refusals: told beside the transaction that was refused, few of many, and never in anybody's way."""

import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import AccessRefusedError, NotAMemberError, RegistryUnavailableError
from morph_assets.registry.events import SECURITY, events_after
from morph_assets.registry.migrate import ROLES
from morph_assets.registry.refusals import RefusalTeller
from morph_assets.usecases.plan_failed_logins import FailedLogins, plan_failed_logins
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.trust import load_trust, revoke_key

FORGED = "SELECT morph.append_event('kernel.published', 'kernel/x', '{}')"


def refusals(tenant):
    """Return the tenant's chain of refusals."""
    return events_after(tenant.registry("auditor"), 0, chain=SECURITY)


def refused(registry):
    with pytest.raises(AccessRefusedError):
        registry.call(FORGED)


def test_a_refused_access_is_told_though_its_transaction_is_gone(tenant):
    refused(tenant.registry("compiler"))

    (told,) = refusals(tenant)
    login = f"morph_{tenant.name}_compiler"
    assert (told.type, told.subject, told.actor) == ("security.access_refused", f"login/{login}", login)
    assert told.facts["facts"]["sqlstate"] == "42501"
    assert "append_event" in told.facts["facts"]["message"]
    assert verify_chain(tenant.registry("auditor"), chain=SECURITY) is None


def test_what_is_refused_within_a_transaction_is_told_once_it_is_over(tenant):
    registry = tenant.registry("compiler")
    seen = []

    def try_inside():
        with registry.transaction():
            try:
                registry.call(FORGED)
            finally:
                seen.append(len(refusals(tenant)))

    with pytest.raises(AccessRefusedError):
        try_inside()

    assert (seen, len(refusals(tenant))) == ([0], 1)


def test_of_many_refusals_ten_a_minute_are_kept_and_the_next_one_tells_how_many_were_not(tenant, registry_database):
    registry = tenant.registry("compiler")
    for _ in range(13):
        refused(registry)
    assert len(refusals(tenant)) == 10

    with psycopg.connect(registry_database) as superuser:
        superuser.execute("UPDATE morph.security_window SET began_at = began_at - interval '61 s'")
    refused(registry)

    told = refusals(tenant)
    assert [event.facts["suppressed"] for event in told] == [0] * 10 + [3]


def test_the_limit_is_each_logins_own(tenant):
    for _ in range(11):
        refused(tenant.registry("compiler"))
    refused(tenant.registry("curator"))

    assert [event.actor for event in refusals(tenant)][-1] == f"morph_{tenant.name}_curator"


def test_a_login_of_a_suspended_tenant_is_told_of(tenant, registry_database):
    registry, auditor = tenant.registry("platform"), tenant.registry("auditor")
    states = "UPDATE morph.tenant SET state = %s WHERE tenant = %s"
    with psycopg.connect(registry_database, autocommit=True) as superuser:
        superuser.execute(states, ("suspended", tenant.name))
        with pytest.raises(NotAMemberError):
            registry.call("SELECT morph.current_tenant()")
        superuser.execute(states, ("active", tenant.name))

    (told,) = events_after(auditor, 0, chain=SECURITY)
    assert told.facts["facts"]["sqlstate"] == "MO001"


@pytest.mark.timed
def test_a_telling_that_is_held_up_gives_up_and_the_refused_call_goes_on(tenant, registry_database):
    registry = tenant.registry("compiler")
    refused(registry)
    with psycopg.connect(registry_database) as superuser:
        superuser.execute("SELECT 1 FROM morph.security_head WHERE tenant = %s FOR UPDATE", (tenant.name,))
        began = time.monotonic()
        refused(registry)
        assert time.monotonic() - began < 0.9  # the login itself would wait a second
        began = time.monotonic()
        refused(registry)
        assert time.monotonic() - began < 0.2

    assert registry.refusals.untold == 2
    assert len(refusals(tenant)) == 1


def test_a_server_that_is_away_is_only_counted(tenant):
    url = make_conninfo(tenant.url("compiler"), host="/nowhere")
    teller = RefusalTeller(url)

    assert not teller.tell("security.access_refused", {})
    with pytest.raises(RegistryUnavailableError):
        Registry.open(url)
    assert teller.untold == 1


def test_what_cannot_be_told_does_not_keep_the_next_one_from_being_told(tenant):
    teller = RefusalTeller(tenant.url("compiler"))

    assert not teller.tell("security.access_refused", {"message": "a\0b"})
    assert teller.tell("security.access_refused", {"message": "ä" * 500}, subject="ref/ä")

    (told,) = refusals(tenant)
    assert (told.subject, len(told.facts["facts"]["message"])) == ("ref/?", 200)


@pytest.mark.parametrize("role", ROLES)
def test_every_login_may_tell_and_only_as_itself(tenant, role):
    connection = tenant.connect(role)
    tell = "SELECT morph.record_security(%s, 'login/eve', '{}')"
    connection.execute(tell, ("security.access_refused",))

    assert [event.actor for event in refusals(tenant)] == [f"morph_{tenant.name}_{role}"]
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        connection.execute(tell, ("security.login_failed",))
    append = "SELECT morph.append_security(%s, gen_random_uuid(), 'security.access_refused', 'x', '{}')"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(append, (tenant.name,))


@pytest.mark.parametrize("change", ["UPDATE morph.security_event SET actor = 'eve'", "TRUNCATE morph.security_event"])
def test_not_even_the_owner_edits_the_refusals(tenant, registry_database, change):
    refused(tenant.registry("compiler"))
    with psycopg.connect(registry_database) as owner:
        owner.execute("SET ROLE morph_owner")
        with pytest.raises(psycopg.Error) as error:
            owner.execute(change)
    assert error.value.sqlstate == "MO009"


def test_a_kernel_that_nobody_trusted_vouches_for_is_told_of(made_platform, tenant):
    _, kernel = made_platform.judged()
    trust = made_platform.config.folders.home / "trust"
    (compiler,) = load_trust(trust / "trust.json").keys_of(Role.COMPILER)
    revoke_key(trust, compiler.keyid)

    made_platform.platform.verify_kernel(kernel.digest)

    (told,) = refusals(tenant)
    assert (told.type, told.subject) == ("security.signature_refused", f"kernel/{kernel.digest}")
    assert told.facts["facts"]["reason"] == "key_revoked"


def test_failed_logins_come_from_the_servers_own_log_and_are_told_once(
    made_platform, tenant, other_tenant, running_services, tmp_path
):
    for url in (tenant.url("curator"), tenant.url("curator"), other_tenant.url("curator")):
        with pytest.raises(RegistryUnavailableError, match="password"):
            Registry.open(make_conninfo(url, password="guessed-secret"))
    lines = running_services.layout.log_file("postgres").read_text().splitlines()
    failed = [line for line in lines if "FATAL" in line and f"{tenant.name}_curator" in line]
    theirs = [line for line in lines if "FATAL" in line and f"{other_tenant.name}_curator" in line]
    assert (len(failed), len(theirs)) == (2, 1)
    log = tmp_path / "postgres.log"
    log.write_text("".join(f"2026-01-02 03:04:05{line[19:]}\n" for line in failed + theirs))

    first = made_platform.platform.record_failed_logins(log)
    again = made_platform.platform.record_failed_logins(log)

    login = f"morph_{tenant.name}_curator"
    assert [(found.login, found.count) for found in first] == [(login, 2)]
    assert again == []
    (told,) = refusals(tenant)
    assert (told.type, told.subject, told.facts["count"]) == ("security.login_failed", f"login/{login}", 2)
    assert not any(b"guessed-secret" in event.payload for event in refusals(tenant))


def test_the_present_minute_of_a_log_is_left_to_the_next_reading():
    line = '2026-01-02 03:04:05.123 UTC [7] morph_a_b@morph FATAL:  password authentication failed for user "morph_a_b"'
    minute = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)

    assert plan_failed_logins([line], now=minute + timedelta(seconds=59)) == []
    assert plan_failed_logins([line, "noise", line], now=minute + timedelta(seconds=60)) == [
        FailedLogins("morph_a_b", minute, 2)
    ]
