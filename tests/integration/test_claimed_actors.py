"""Who somebody says to be stands beside who they are, in the event and in its hash, and is never taken for it."""

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.connection import Claim, Registry
from morph_assets.registry.events import events_after
from morph_assets.usecases.export_audit import ExportRange
from tests.support.command_line import run_morph
from tests.support.tampering import REHASH

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)


def open_run(registry):
    registry.call("SELECT morph.open_run(%s, %s, 60)", (f"run-{uuid4().hex[:8]}", uuid4()))


def newest(tenant):
    return events_after(tenant.registry("auditor"), 0, types=["run.opened"])[-1]


def test_a_claim_is_kept_beside_the_session_and_the_clock(tenant):
    with Registry(tenant.url("trainer"), claim=Claim("ada", NOON)) as registry:
        open_run(registry)

    told = newest(tenant)
    assert (told.claimed_actor, told.claimed_at) == ("ada", NOON)
    assert told.actor == f"morph_{tenant.name}_trainer"
    assert told.recorded_at > NOON
    assert verify_chain(tenant.registry("auditor")) is None


def test_a_claim_survives_a_lost_connection(tenant, registry_database):
    with Registry(tenant.url("trainer"), claim=Claim("ada")) as registry:
        with registry.transaction() as connection:
            backend = connection.info.backend_pid
        with psycopg.connect(registry_database) as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s, 2000)", (backend,))
        with pytest.raises(Exception, match=r"terminat|closed|lost"):
            open_run(registry)
        open_run(registry)

    assert newest(tenant).claimed_actor == "ada"


@pytest.mark.parametrize(
    ("actor", "at", "kept"),
    [
        ("a\nb\x01c", "", "abc"),
        ("x" * 300, "-1", "x" * 200),
        ("", "99999999999999999", None),
        ("Ada Ä", "soon", "Ada Ä"),
    ],
)
def test_whatever_a_client_sets_becomes_no_more_than_a_claim(tenant, actor, at, kept):
    connection = tenant.connect("trainer")
    connection.execute(
        "SELECT set_config('morph.claimed_actor', %s, false), set_config('morph.claimed_at', %s, false)", (actor, at)
    )
    connection.execute("SELECT morph.open_run('run', %s, 60)", (uuid4(),))

    told = newest(tenant)
    assert (told.claimed_actor, told.claimed_at) == (kept, None)
    assert told.actor == f"morph_{tenant.name}_trainer"
    assert verify_chain(tenant.registry("auditor")) is None


def test_events_of_the_first_version_still_verify(tenant, registry_database):
    auditor = tenant.registry("auditor")
    for _ in range(3):
        open_run(tenant.registry("trainer"))
    with psycopg.connect(registry_database) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("UPDATE morph.event SET schema_version = 1 WHERE tenant = %s AND seq <= 3", (tenant.name,))
        superuser.execute(REHASH.format(tenant=tenant.name, seq=1).encode())
    open_run(tenant.registry("trainer"))

    versions = [event.schema_version for event in events_after(auditor, 0)]
    assert set(versions[:3]) == {1}
    assert versions[-1] == 2
    assert verify_chain(auditor) is None


def test_the_person_behind_a_command_is_claimed_by_the_environment(made_platform, tmp_path):
    environment = made_platform.environment() | {"MORPH_ACTOR": "ada@example.org"}
    ran = run_morph("blueprint", "submit", "--library", cwd=tmp_path, **environment)
    assert ran.returncode == 0, ran.stderr

    (*_, told) = made_platform.platform.iter_audit(ExportRange(types=["blueprint.submitted"]))
    assert told["claimed_actor"] == "ada@example.org"
    assert told["actor"].endswith("_platform")
