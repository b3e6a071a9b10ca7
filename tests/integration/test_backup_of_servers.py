"""Backup and restore of servers that are somebody else's, by an operator who is no superuser."""

import json
import secrets

import psycopg
import pytest
from dagster_postgres.event_log import PostgresEventLogStorage
from psycopg import sql
from psycopg.conninfo import make_conninfo

from morph_assets.config import ROLES
from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.connection import Registry
from morph_assets.registry.events import events_after
from morph_assets.registry.migrate import OWNER, migrate
from morph_assets.registry.tenants import create_tenant, login_name
from morph_assets.usecases.start_platform import start_platform
from morph_kernels.artifact.trust import create_trust
from morph_kernels.identity import BlobDigest
from morph_kernels.settings import read_endpoints
from morph_kernels.store import open_store
from morph_kernels.store.keys import blob_key
from tests.support.backups import home_in, project
from tests.support.command_line import run_morph
from tests.support.registry import digest_of
from tests.support.services import bootstrap_url

PASSWORD = secrets.token_hex(8)


class Servers:
    """A server with databases that belong to `operator`, and variables that name them."""

    def __init__(self, folder):
        self.folder = folder
        self.started = start_platform(home_in(folder, "server"), tenant="default")
        self.redis = read_endpoints({"MORPH_HOME": str(self.started.layout.home)})
        create_trust(folder / "old" / "trust")
        with psycopg.connect(bootstrap_url(self.started, "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE operator LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
            connection.execute(f"GRANT {OWNER} TO operator WITH INHERIT TRUE, SET TRUE")
            for name in ("old", "new", "old_dagster", "new_dagster"):
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER operator").format(sql.Identifier(name)))

    def url(self, database, user="operator"):
        conninfo = make_conninfo(bootstrap_url(self.started, database), user=user, password=PASSWORD)
        facts = psycopg.conninfo.conninfo_to_dict(conninfo)
        return f"postgresql://{user}:{PASSWORD}@/{database}?host={facts['host']}&port={facts['port']}"

    def tenant_url(self, database, role):
        return self.url(database, login_name("default", role))

    def variables(self, name):
        return {
            "MORPH_DATABASE_URL": self.tenant_url(name, "platform"),
            "MORPH_OPERATOR_DATABASE_URL": self.url(name),
            "MORPH_DAGSTER_DATABASE_URL": self.url(f"{name}_dagster").replace("postgresql", "postgresql+psycopg2", 1),
            "MORPH_REDIS_URL": self.redis.redis_url,
            "MORPH_REDIS_PLATFORM_URL": self.redis.redis_platform_url,
            "MORPH_STORE_URL": (self.folder / name / "objects").as_uri(),
            "MORPH_TRUST_FILE": str(self.folder / name / "trust" / "trust.json"),
            "MORPH_KEYS_DIR": str(self.folder / name / "trust" / "keys"),
            **{f"MORPH_DATABASE_URL_{role.upper()}": self.tenant_url(name, role) for role in ROLES},
        }

    def run(self, name, *arguments):
        return run_morph(*arguments, cwd=self.folder, home=self.folder / "no-home", **self.variables(name))


@pytest.fixture
def servers():
    with project() as folder:
        yield Servers(folder)


def test_an_operator_saves_and_restores_servers_without_being_a_superuser(servers):
    folder = servers.folder
    migrate(servers.url("old"))
    create_tenant(bootstrap_url(servers.started, "old"), "default", dict.fromkeys(ROLES, PASSWORD))
    storage = PostgresEventLogStorage(servers.variables("old")["MORPH_DAGSTER_DATABASE_URL"], True)
    storage.add_dynamic_partitions("active_blueprints", ["known"])
    storage.dispose()
    key = blob_key("default", BlobDigest(digest_of("stored")))
    open_store(servers.variables("old")["MORPH_STORE_URL"]).put_if_absent(key, b"stored")

    saved = servers.run("old", "backup", str(folder / "saved"), "--with-keys", "--json")
    assert saved.returncode == 0, saved.stderr
    restored = servers.run("new", "restore", str(folder / "saved"), "--with-keys", "--json")
    assert restored.returncode == 0, restored.stderr

    assert PASSWORD not in saved.stdout + saved.stderr + restored.stdout + restored.stderr
    facts = json.loads(restored.stdout)
    assert (facts["saved_timeline"], facts["timeline"], facts["objects"]) == (1, 2, 1)
    with Registry.open(servers.tenant_url("new", "auditor")) as registry:
        assert verify_chain(registry) is None
        assert events_after(registry, 0)[-1].type == "timeline.started"
    storage = PostgresEventLogStorage(servers.variables("new")["MORPH_DAGSTER_DATABASE_URL"], True)
    assert storage.get_dynamic_partitions("active_blueprints") == ["known"]
    storage.dispose()
    for name in ("trust.json", *(f"keys/{role}.pem" for role in ("root", "publisher"))):
        assert (folder / "new" / "trust" / name).read_bytes() == (folder / "old" / "trust" / name).read_bytes()
    assert open_store(servers.variables("new")["MORPH_STORE_URL"]).get(key, max_bytes=100) == b"stored"

    again = servers.run("new", "restore", str(folder / "saved"))
    assert again.returncode == 1
    assert "the registry's database is not empty" in again.stderr


def test_a_login_that_may_not_read_everything_saves_nothing(servers):
    migrate(bootstrap_url(servers.started, "old"))
    create_tenant(bootstrap_url(servers.started, "old"), "default", dict.fromkeys(ROLES, PASSWORD))
    variables = servers.variables("old") | {"MORPH_OPERATOR_DATABASE_URL": servers.tenant_url("old", "admin")}
    ran = run_morph("backup", str(servers.folder / "saved"), cwd=servers.folder, home=servers.folder / "x", **variables)
    assert ran.returncode == 1
    assert "permission denied" in ran.stderr
    assert [path.name for path in servers.folder.iterdir() if "saved" in path.name] == []
