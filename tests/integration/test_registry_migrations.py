"""Migrations: twice, two at once, by an ordinary administrator, and against a schema that is too new."""

import secrets
import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.blueprints import list_releases, submit_blueprint
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import InvalidRecordError, RegistryError
from morph_assets.registry.migrate import OWNER, ROLES, MigrationError, migrate
from morph_assets.registry.tenants import create_tenant, login_name, set_quota
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from morph_kernels.identity import InvalidNameError
from tests.support.registry import document_of
from tests.support.services import bootstrap_url, folders_of


def outline(url) -> list[tuple]:
    """Every table, column, function and trigger of the schema."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            """SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'morph'
               UNION ALL SELECT proname, pg_get_function_identity_arguments(oid), prosrc FROM pg_proc
                   WHERE pronamespace = 'morph'::regnamespace
               UNION ALL SELECT tgname, tgrelid::regclass::text, '' FROM pg_trigger WHERE NOT tgisinternal
               UNION ALL SELECT polname, polrelid::regclass::text, '' FROM pg_policy
               ORDER BY 1, 2, 3"""
        ).fetchall()


# A training job may be older than the schema: a function that it calls keeps its arguments.
CALLED_BY_TRAINERS = (
    ("checkpoint_blobs", "uuid"),
    (
        "commit_checkpoint",
        "uuid, text, text, uuid, uuid, bigint, bigint, bigint, text, integer, text, text, jsonb, text[], uuid",
    ),
    ("current_tenant", ""),
    ("current_timeline", ""),
    ("fence", "text, uuid, bigint"),
    ("find_checkpoints", "text, text, integer"),
    ("fork_branch", "text, uuid, bigint, text, uuid"),
    ("live_blobs", "text[]"),
    ("move_head", "text, uuid, bigint, text, uuid, uuid"),
    ("open_run", "text, uuid, double precision"),
    ("pin_checkpoint", "text, uuid, bigint, uuid, text, timestamp with time zone"),
    ("record_restore", "text, uuid, bigint, uuid"),
    ("record_security", "text, text, jsonb"),
    ("release_lease", "text, uuid, bigint"),
    ("renew_lease", "text, uuid, bigint, double precision"),
    ("renew_run", "text, uuid, bigint, double precision"),
    ("report_served", "uuid, text, jsonb, timestamp with time zone, timestamp with time zone"),
    ("require_quota", "text, bigint"),
    ("resolve_checkpoint", "text, text, uuid, text, bigint, bigint, timestamp with time zone, bigint"),
    ("search_kernels", "jsonb, integer, text"),
    ("tag_checkpoint", "text, uuid, bigint, text, uuid, boolean"),
    ("unpin_checkpoint", "text, uuid, bigint, uuid, text"),
)


def test_what_training_jobs_call_is_as_it_was(registry_database):
    with psycopg.connect(registry_database) as connection:
        found = connection.execute(
            """SELECT p.proname, oidvectortypes(p.proargtypes) FROM pg_proc p
               WHERE p.pronamespace = 'morph'::regnamespace
                 AND has_function_privilege('morph_trainer', p.oid, 'EXECUTE') ORDER BY p.proname"""
        ).fetchall()
    assert tuple(found) == CALLED_BY_TRAINERS


def unique_tenant() -> str:
    return f"m{secrets.token_hex(5)}"


@pytest.fixture
def ordinary_admin(short_folder) -> Iterator[str]:
    """A database on a server of its own, with an owner who may create roles but is no superuser."""
    folders = folders_of(short_folder / "m" / ".morph")
    folders.project.mkdir()
    started = start_platform(folders, tenant="default")
    with psycopg.connect(bootstrap_url(started, "postgres"), autocommit=True) as connection:
        roles = [name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'morph\\_%'")]
        connection.execute("DROP DATABASE IF EXISTS morph WITH (FORCE)")
        for role in roles:
            if role in {OWNER, *(f"morph_{group}" for group in ROLES)} or role.startswith("morph_default_"):
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        connection.execute("CREATE ROLE ordinary LOGIN CREATEROLE PASSWORD 'ordinary'")
        connection.execute("CREATE DATABASE morph OWNER ordinary")
    yield make_conninfo(bootstrap_url(started, "morph"), user="ordinary", password="ordinary")
    stop_platform(folders)


def test_migrating_twice_changes_nothing(fresh_database):
    migrate(fresh_database)
    before = outline(fresh_database)
    migrate(fresh_database)
    assert outline(fresh_database) == before
    assert len(before) > 100


def test_what_is_no_longer_defined_goes_and_what_was_changed_comes_back(fresh_database):
    migrate(fresh_database)
    before = outline(fresh_database)
    with psycopg.connect(fresh_database) as owner:
        owner.execute("SET ROLE morph_owner")
        owner.execute("SET search_path = morph, pg_temp")
        owner.execute("CREATE FUNCTION outdated() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        owner.execute("CREATE TRIGGER outdated BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION outdated()")
        owner.execute("CREATE POLICY outdated ON run FOR SELECT USING (true)")
        owner.execute("DROP TRIGGER event_is_append_only ON event")
        owner.execute("UPDATE code_version SET digest = 'of another version'")
    migrate(fresh_database)
    assert outline(fresh_database) == before


def test_two_migrations_at_once_both_succeed(fresh_database):
    failures = []

    def run():
        try:
            migrate(fresh_database)
        except RegistryError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    tenant = unique_tenant()
    create_tenant(fresh_database, tenant, {"auditor": "a"})
    with Registry.open(make_conninfo(fresh_database, user=login_name(tenant, "auditor"), password="a")) as registry:
        assert verify_chain(registry) is None


def test_an_owner_who_is_no_superuser_migrates_and_makes_tenants(ordinary_admin):
    for _ in range(2):
        migrate(ordinary_admin)
        create_tenant(ordinary_admin, "default", {"platform": "p", "auditor": "a"})
    set_quota(ordinary_admin, "default", "blueprints", 1)
    url = make_conninfo(ordinary_admin, user="morph_default_platform", password="p")
    with Registry.open(url) as registry:
        submit_blueprint(registry, "ffn_gelu", *document_of("a"))
        assert [release.name for release in list_releases(registry)] == ["ffn_gelu"]
    with psycopg.connect(ordinary_admin) as admin:
        owners = admin.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'morph'::regnamespace"
        ).fetchall()
    assert owners == [(OWNER,)]


def test_a_schema_that_is_newer_is_refused(fresh_database):
    migrate(fresh_database)
    with psycopg.connect(fresh_database) as owner:
        owner.execute("UPDATE morph.schema_version SET version_num = 'v9999'")
    with pytest.raises(MigrationError, match="does not know"):
        migrate(fresh_database)


def test_a_login_that_may_not_migrate_is_told_so(fresh_database):
    migrate(fresh_database)
    tenant = unique_tenant()
    create_tenant(fresh_database, tenant, {"admin": "a"})
    with pytest.raises(RegistryError, match="permission denied"):
        migrate(make_conninfo(fresh_database, user=login_name(tenant, "admin"), password="a"))


def test_a_tenant_created_twice_keeps_its_rows_and_takes_the_new_password(fresh_database):
    migrate(fresh_database)
    tenant = unique_tenant()
    create_tenant(fresh_database, tenant, {"platform": "old"})
    set_quota(fresh_database, tenant, "kernels", 5)
    create_tenant(fresh_database, tenant, {"platform": "new", "auditor": "a"})
    with Registry.open(make_conninfo(fresh_database, user=login_name(tenant, "platform"), password="new")) as registry:
        assert registry.call("SELECT hard_limit FROM morph.quota WHERE resource = 'kernels'") == (5,)
        assert registry.call("SELECT count(*) FROM morph.event WHERE type = 'tenant.created'") == (1,)


def test_no_password_is_kept_in_the_clear(fresh_database):
    migrate(fresh_database)
    tenant, password = unique_tenant(), secrets.token_hex(8)
    create_tenant(fresh_database, tenant, {"platform": password})
    with psycopg.connect(fresh_database) as owner:
        (kept,) = owner.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (login_name(tenant, "platform"),)
        ).fetchone()
    assert kept.startswith("SCRAM-SHA-256$")
    assert password not in kept


def test_a_tenant_with_a_bad_name_or_role_is_refused(fresh_database):
    migrate(fresh_database)
    with pytest.raises(InvalidNameError):
        create_tenant(fresh_database, "Bad Name", {})
    with pytest.raises(InvalidRecordError, match="longer than 40"):
        create_tenant(fresh_database, "x" * 41, {})
    with pytest.raises(InvalidRecordError, match="superhero"):
        create_tenant(fresh_database, "good", {"superhero": "x"})
    with pytest.raises(InvalidRecordError):
        set_quota(fresh_database, "nobody", "kernels", 1)


def test_nobody_but_our_logins_may_connect_or_call(fresh_database):
    migrate(fresh_database)
    with psycopg.connect(fresh_database) as owner:
        assert owner.execute("SELECT has_database_privilege('public', current_database(), 'CONNECT')").fetchone() == (
            False,
        )
        callable_by_all = owner.execute(
            """SELECT proname FROM pg_proc WHERE pronamespace = 'morph'::regnamespace
               AND has_function_privilege('public', oid, 'EXECUTE')"""
        ).fetchall()
        loose_paths = owner.execute(
            """SELECT proname FROM pg_proc WHERE pronamespace = 'morph'::regnamespace AND prosecdef
               AND NOT 'search_path=morph, pg_temp' = ANY (coalesce(proconfig, '{}'))"""
        ).fetchall()
    assert callable_by_all == []
    assert loose_paths == []
