"""Two tenants that lived the same life, raw connections as each login of one, and a print of every row of both."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.blueprints import retire_release
from morph_assets.registry.builds import record_build
from morph_assets.registry.evaluations import record_report, start_evaluation
from morph_assets.registry.kernels import quarantine_kernel, revoke_kernel
from morph_assets.registry.migrate import ROLES
from morph_assets.registry.removal import begin_purge, retire_kernel
from tests.support.registry import TestTenant, compiled, digest_of, report_on

# Everything that a refused statement could leave behind: rows, and who may do what.
_PRINTED = """
    SELECT format('SELECT %L, md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C"), ''''))'
                  ' FROM %s t', name, source)
    FROM (SELECT relname, 'morph.' || quote_ident(relname) FROM pg_class
          WHERE relnamespace = 'morph'::regnamespace AND relkind IN ('r', 'p')
          UNION ALL VALUES
          ('functions', '(SELECT oid, proname, prosrc, proconfig, proowner, proacl FROM pg_proc)'),
          ('tables', '(SELECT oid, relname, relowner, relacl, relrowsecurity FROM pg_class)'),
          ('columns', '(SELECT attrelid, attname, attacl FROM pg_attribute)'),
          ('triggers', '(SELECT oid, tgname, tgrelid, tgenabled FROM pg_trigger)'),
          ('policies', '(SELECT * FROM pg_policy)'),
          ('schemas', '(SELECT nspname, nspowner, nspacl FROM pg_namespace)'),
          ('databases', '(SELECT datname, datdba, datacl FROM pg_database)'),
          ('roles', '(SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls
                      FROM pg_authid)'),
          ('members', '(SELECT roleid, member, admin_option, inherit_option, set_option FROM pg_auth_members)'),
          ('large objects', '(SELECT oid FROM pg_largeobject_metadata)')) printed (name, source)
    ORDER BY name"""


@dataclass
class HostileGround:
    """What there is to attack; `facts` names it, and the same of the other tenant under `other_...`."""

    tenant: TestTenant
    other: TestTenant
    facts: Mapping[str, Any]
    superuser: psycopg.Connection[Any] = field(repr=False)
    connections: Mapping[str, psycopg.Connection[Any]] = field(repr=False)

    def fingerprint(self) -> dict[str, str]:
        """Return a digest of every table of every tenant, and of all privileges and definitions."""
        queries = [query for (query,) in self.superuser.execute(_PRINTED).fetchall()]
        return dict(self.superuser.execute(" UNION ALL ".join(queries)).fetchall())

    def attempt(self, role: str, statements: str) -> str | None:
        """Say the statements as the role's login; return the SQLSTATE that refused them, or None."""
        connection = self.connections[role]
        try:
            connection.execute(statements, self.facts)
        except psycopg.Error as refused:
            return refused.sqlstate
        finally:
            connection.execute("ROLLBACK")
            connection.execute("DISCARD ALL")
        return None

    def say(self, role: str, statements: str) -> None:
        """Say the statements as the role's login; what they set stays."""
        self.connections[role].execute(statements, self.facts)

    def answer(self, role: str, query: str) -> list[Any]:
        """Return what the query says to the role's login."""
        return self.connections[role].execute(query, self.facts).fetchall()


def live(tenant: TestTenant, superuser: psycopg.Connection[Any]) -> dict[str, Any]:
    """Let the tenant have a kernel in every state, releases, an alias, leases, runs and checkpoints."""
    facts = _kernels(tenant) | _releases(tenant)
    facts |= _leases(tenant, superuser)
    facts |= _checkpoints(tenant, superuser, facts["needed"])
    return facts | {"tenant": tenant.name, "login": f"morph_{tenant.name}_platform"}


def _kernels(tenant: TestTenant) -> dict[str, Any]:
    by_state = {
        "compiled": tenant.built("compiled", blueprint=tenant.name),
        "validating": tenant.built("validating", blueprint=tenant.name),
    }
    start_evaluation(tenant.registry("evaluator"), by_state["validating"].digest)
    by_state["validated"] = tenant.evaluated("validated", blueprint=tenant.name)
    by_state["rejected"] = tenant.evaluated("rejected", blueprint=tenant.name, verdict="fail")
    for state in ("published", "quarantined", "revoked", "retired"):
        by_state[state] = tenant.published(state, blueprint=tenant.name)
    curator = tenant.registry("curator")
    quarantine_kernel(curator, by_state["quarantined"].digest, reason="odd")
    revoke_kernel(curator, by_state["revoked"].digest, reason="wrong")
    retire_kernel(curator, by_state["retired"].digest, reason="unused")
    release = tenant.submitted(text=tenant.name)
    bold = compiled(release.blueprint_digest, "speculative", speculative=True)
    by_state["speculative"] = record_build(tenant.registry("compiler"), bold)
    start_evaluation(tenant.registry("evaluator"), bold.digest)
    record_report(tenant.registry("evaluator"), report_on(bold.digest, attestation=b"bold"))
    for state in ("due", "going"):
        by_state[state] = tenant.evaluated(state, blueprint=tenant.name)
        retire_kernel(curator, by_state[state].digest, reason="unused", grace_s=0)
    begin_purge(curator, by_state["going"].digest)
    curator.call("SELECT morph.pin('kernel/' || %s, 'wanted', NULL)", (by_state["validated"].digest,))
    digests: dict[str, Any] = {state: kernel.digest for state, kernel in by_state.items()}
    return digests | {
        "needed": tenant.evaluated("needed", blueprint=tenant.name).digest,
        "blueprint": by_state["compiled"].blueprint_digest,
        "build_key": by_state["compiled"].build_key,
        "bundle": by_state["compiled"].bundle_digest,
        "report": tenant.registry("auditor").call(
            "SELECT report_id FROM morph.report WHERE kernel_digest = %s", (by_state["rejected"].digest,)
        )[0],
        "build": tenant.registry("auditor").call(
            "SELECT build_id FROM morph.build WHERE kernel_digest = %s", (by_state["compiled"].digest,)
        )[0],
    }


def _releases(tenant: TestTenant) -> dict[str, Any]:
    """Besides `ffn_gelu@1` in service: @2 only submitted, @3 retired; `served@production` points at @1 of two."""
    tenant.submitted(text="waiting")
    tenant.submitted(text="old")
    retire_release(tenant.registry("curator"), "ffn_gelu", 3, reason="old")
    body = tenant.published("body", name="served", blueprint="served")
    tenant.published("next body", name="served", blueprint="served anew")
    move_alias(tenant.registry("publisher"), "served", "production", 1, expected_row_version=None)
    move_alias(tenant.registry("publisher"), "served", "frozen", 1, expected_row_version=None)
    tenant.registry("curator").call("SELECT morph.freeze_alias('served', 'frozen', 'a release')")
    own = tenant.submitted(f"only-{tenant.name}", f"only of {tenant.name}")
    (generation,) = tenant.registry("publisher").call("SELECT morph.raise_index('served')")
    return {"generation": generation, "body": body.digest, "own_name": own.name, "own_blueprint": own.blueprint_digest}


def _leases(tenant: TestTenant, superuser: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return holders and epochs: of a lease that is held, of one that was lost, and of one taken anew by its holder."""
    compiler = tenant.connect("compiler")

    def take(name: str, holder: object) -> int:
        return int(compiler.execute("SELECT morph.acquire_lease(%s, %s, 3600)", (name, holder)).fetchone()[0])

    holder, lost, winner = uuid4(), uuid4(), uuid4()
    facts: dict[str, Any] = {"holder": holder, "epoch": take("build/held", holder), "lost_holder": lost}
    facts["lost_epoch"] = take("build/lost", lost)
    superuser.execute(
        "UPDATE morph.lease SET expires_at = now() - interval '1 s' WHERE tenant = %s AND name = 'build/lost'",
        (tenant.name,),
    )
    take("build/lost", winner)
    facts["restarted_epoch"] = take("build/restarted", holder)
    take("build/restarted", holder)
    return facts


def _checkpoints(tenant: TestTenant, superuser: psycopg.Connection[Any], kernel: str) -> dict[str, Any]:
    trainer, writer, earlier, checkpoint = tenant.connect("trainer"), uuid4(), uuid4(), uuid4()
    (old_epoch,) = trainer.execute("SELECT morph.open_run('run', %s, 3600)", (writer,)).fetchone()
    (epoch,) = trainer.execute("SELECT morph.open_run('run', %s, 3600)", (writer,)).fetchone()
    trainer.execute("SELECT morph.open_run('another', %s, 3600)", (writer,))
    blob, dead = digest_of(f"blob of {tenant.name}"), digest_of(f"dead blob of {tenant.name}")
    blobs = [{"digest": each, "location": "packs/1", "byte_offset": 0, "size_bytes": 10} for each in (blob, dead)]
    for saved, parent in ((earlier, None), (checkpoint, earlier)):
        trainer.execute(
            "SELECT morph.commit_checkpoint(%s, 'run', 'main', %s, %s, %s, 1, 1, 'v1', 1, %s, 'm/1', %s, %s, %s)",
            (saved, parent, writer, epoch, digest_of("manifest"), Jsonb(blobs), [kernel], parent),
        )
    trainer.execute("SELECT morph.tag_checkpoint('run', %s, %s, 'good', %s, false)", (writer, epoch, earlier))
    trainer.execute("SELECT morph.pin_checkpoint('run', %s, %s, %s, 'paper', NULL)", (writer, epoch, earlier))
    pin = "SELECT morph.pin('checkpoint/' || %s, 'audit', NULL)"
    tenant.registry("curator").call(pin, (checkpoint,))
    superuser.execute("UPDATE morph.blob SET state = 'dead' WHERE tenant = %s AND digest = %s", (tenant.name, dead))
    return {
        "writer": writer,
        "run_epoch": epoch,
        "old_run_epoch": old_epoch,
        "earlier": earlier,
        "checkpoint": checkpoint,
        "manifest": digest_of("manifest"),
        "blob": blob,
        "dead": dead,
    }


@pytest.fixture(scope="module")
def hostile_ground(registry_database) -> Iterator[HostileGround]:
    """The ground of a module: whatever is refused leaves it as it was."""
    tenant, other = (TestTenant(registry_database, f"{who}{uuid4().hex[:12]}") for who in "to")
    with ExitStack() as stack:
        stack.callback(tenant.close)
        stack.callback(other.close)
        superuser = stack.enter_context(psycopg.connect(registry_database, autocommit=True))
        facts = live(tenant, superuser) | {"unknown": digest_of("nobody knows"), "nobody": uuid4()}
        facts |= {f"other_{name}": value for name, value in live(other, superuser).items()}
        facts["other_database"] = superuser.info.dbname
        # Client-side binding: several statements in one message, as an attacker would send them.
        connections = {
            role: stack.enter_context(
                psycopg.connect(tenant.url(role), autocommit=True, cursor_factory=psycopg.ClientCursor)
            )
            for role in ROLES
        }
        yield HostileGround(tenant, other, facts, superuser, connections)
