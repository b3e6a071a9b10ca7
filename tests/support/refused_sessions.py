"""What no login gets by going around the functions: whole statements, refused to all nine in the same way."""

from dataclasses import dataclass

FORBIDDEN = "42501"


@dataclass(frozen=True)
class RefusedStatement:
    """What is tried, and the statements of which the last is refused."""

    tried: str
    statements: str
    code: str = FORBIDDEN


def _group(what: str, *tried: tuple[str, str] | tuple[str, str, str]) -> tuple[RefusedStatement, ...]:
    return tuple(RefusedStatement(f"{what}: {each[0]}", *each[1:]) for each in tried)


_FORGED = "'kernel.published', 'kernel/x', '{}'"
INTERNAL_CALLS = _group(
    "a call from inside",
    ("an event of one's own", f"SELECT morph.append_event({_FORGED})"),
    ("an event of another tenant", f"SELECT morph.append_event_for(%(other_tenant)s, {_FORGED})"),
    ("an event, in a block", f"DO $$ BEGIN PERFORM morph.append_event({_FORGED}); END $$"),
    ("an event, prepared", f"PREPARE forged AS SELECT morph.append_event({_FORGED}); EXECUTE forged"),
    (
        "a refusal of another tenant",
        "SELECT morph.append_security(%(other_tenant)s, gen_random_uuid(), 'security.x', 'x', '{}')",
    ),
    ("a seal", "SELECT morph.sealed_event(NULL)"),
    ("a hash", "SELECT morph.event_hash(NULL)"),
    ("a state", "SELECT morph.advance_kernel(%(compiled)s, 'PUBLISHED', '', 'kernel.published')"),
    ("a release", "SELECT morph.publish_releases(%(blueprint)s)"),
    ("a lock", "SELECT morph.lock_kernel(%(published)s)"),
    ("a guard", "SELECT morph.kernel_guard_holds('evidence', NULL, 'VALIDATING')"),
    ("a run's lease", "SELECT morph.take_lease('run/run', gen_random_uuid(), 60)"),
    ("blobs", "SELECT morph.hold_blobs('[]')"),
    ("a commit", "SELECT morph.find_commit(%(checkpoint)s, 'run', %(manifest)s)"),
    ("the floor of the epochs", "SELECT morph.timeline_floor()"),
)

ANOTHER_WHO = _group(
    "somebody else",
    ("the owner's role", "SET ROLE morph_owner"),
    ("the owner's role, for a transaction", "BEGIN; SET LOCAL ROLE morph_owner"),
    ("the owner's role, by a setting", "SELECT set_config('role', 'morph_owner', false)"),
    ("the other tenant's login", "SET ROLE morph_{other}_platform"),
    ("the other tenant's session", "SET SESSION AUTHORIZATION morph_{other}_platform"),
    ("a session, by a setting", "SELECT set_config('session_authorization', 'morph_owner', false)"),
    (
        "membership in another tenant",
        "INSERT INTO morph.tenant_member VALUES (session_user, %(other_tenant)s, 'admin')",
    ),
    ("the owner's membership", "GRANT morph_owner TO CURRENT_USER"),
    ("membership for another", "GRANT morph_{other}_publisher TO CURRENT_USER"),
    ("a role to log in with", "CREATE ROLE eve LOGIN"),
    ("power over every row", "ALTER ROLE CURRENT_USER BYPASSRLS"),
    ("all power", "ALTER ROLE CURRENT_USER SUPERUSER"),
    ("a login for the owner", "ALTER ROLE morph_owner LOGIN"),
    ("another's password", "ALTER ROLE morph_{other}_platform PASSWORD 'known'"),
    ("the passwords", "SELECT rolpassword FROM pg_authid"),
    ("another's end", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"),
)

OFF_GUARD = _group(
    "a guard",
    ("triggers off, for the session", "SET session_replication_role = replica"),
    ("triggers off, by a setting", "SELECT set_config('session_replication_role', 'replica', false)"),
    ("triggers off, of a table", "ALTER TABLE morph.event DISABLE TRIGGER ALL"),
    ("a trigger gone", "DROP TRIGGER event_is_append_only ON morph.event"),
    (
        "a trigger of one's own",
        "CREATE TRIGGER mine BEFORE INSERT ON morph.event EXECUTE FUNCTION morph.refuse_change()",
    ),
    ("a rule of one's own", "CREATE RULE mine AS ON INSERT TO morph.event DO INSTEAD NOTHING"),
    ("row-level security off, for a table", "ALTER TABLE morph.kernel DISABLE ROW LEVEL SECURITY"),
    ("row-level security off, for the session", "SET row_security = off; SELECT * FROM morph.kernel"),
    ("a policy of one's own", "CREATE POLICY mine ON morph.kernel USING (true)"),
    ("a policy gone", "DROP POLICY own_tenant ON morph.kernel"),
    ("a check gone", "ALTER TABLE morph.report DROP CONSTRAINT report_has_its_digest"),
    ("another column", "ALTER TABLE morph.kernel ADD COLUMN mine text"),
    ("another transition", "INSERT INTO morph.lifecycle VALUES ('kernel', 'REJECTED', 'PUBLISHED', NULL)"),
    ("another timeline", "INSERT INTO morph.timeline (timeline, reason) VALUES (99, 'mine')"),
    (
        "the tenant's function replaced",
        "CREATE OR REPLACE FUNCTION morph.current_tenant() RETURNS text AS '' LANGUAGE sql",
    ),
    ("its path changed", "ALTER FUNCTION morph.current_tenant() SET search_path = pg_temp"),
    ("its owner changed", "ALTER FUNCTION morph.current_tenant() OWNER TO CURRENT_USER"),
    ("it gone", "DROP FUNCTION morph.current_tenant() CASCADE"),
    ("the schema gone", "DROP SCHEMA morph CASCADE"),
    ("a server setting", "ALTER SYSTEM SET fsync = off"),
    ("damaged pages taken for empty", "SET zero_damaged_pages = on"),
)

IN_THE_WAY = _group(
    "an object in a function's way",
    ("a temporary table", "CREATE TEMP TABLE kernel (tenant text)"),
    ("a temporary table, from a query", "SELECT 1 AS tenant INTO TEMP tenant_member"),
    ("a temporary view", "CREATE TEMP VIEW tenant AS SELECT 1"),
    ("a temporary type", "CREATE TYPE pg_temp.digest AS (mine int)"),
    ("a temporary function", "CREATE FUNCTION pg_temp.current_tenant() RETURNS text AS '' LANGUAGE sql"),
    ("a table in the schema", "CREATE TABLE morph.mine (x int)"),
    ("a table in public", "CREATE TABLE public.kernel (x int)"),
    ("an operator", "CREATE OPERATOR public.= (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)"),
    ("a schema", "CREATE SCHEMA mine"),
    ("a definer's function", "CREATE FUNCTION public.mine() RETURNS void AS '' LANGUAGE sql SECURITY DEFINER"),
    ("an index", "CREATE INDEX ON morph.event (actor)"),
    ("statistics", "CREATE STATISTICS mine ON tenant, seq FROM morph.event"),
)

WAYS_OUT = _group(
    "a way out of the database",
    ("a link to a database", "CREATE EXTENSION dblink"),
    ("a foreign server", "CREATE FOREIGN DATA WRAPPER mine"),
    ("a library", "LOAD '/tmp/mine.so'"),
    ("a program", "COPY (SELECT 1) TO PROGRAM 'id'"),
    ("a file written", "COPY (SELECT 1) TO '/tmp/mine'"),
    ("a file read", "SELECT pg_read_file('PG_VERSION')"),
    ("a file read into a large object", "SELECT lo_import('/etc/passwd')"),
    ("a folder listed", "SELECT pg_ls_dir('.')"),
    ("a large object, outside of every quota", "SELECT lo_create(0)"),
    ("a large object, with bytes", "SELECT lo_from_bytea(0, 'x')"),
    ("a large object, the old way", "SELECT lo_creat(-1)"),
    ("the migrator's lock", "SELECT pg_advisory_lock(1)"),
    ("the migrator's lock, if it is free", "SELECT pg_try_advisory_lock(1)"),
    ("a publication", "CREATE PUBLICATION mine"),
    ("a replication slot", "SELECT pg_create_physical_replication_slot('mine')"),
    ("a transaction that outlives its session", "BEGIN; PREPARE TRANSACTION 'mine'", "55000"),
    ("a copy into a table", "COPY morph.event FROM STDIN"),
    ("rows held for long", "BEGIN; DECLARE mine CURSOR FOR SELECT * FROM morph.kernel FOR UPDATE"),
    ("bytes in the server's own log", "SELECT pg_logical_emit_message(false, 'mine', 'x')"),
    ("the samples of every tenant's values", "SELECT * FROM pg_statistic"),
    ("who holds a lease, to act as it", "SELECT holder FROM morph.lease"),
)

REFUSED_STATEMENTS = (*INTERNAL_CALLS, *ANOTHER_WHO, *OFF_GUARD, *IN_THE_WAY, *WAYS_OUT)

# Said without an error, and without any effect on rows, privileges or definitions.
IDLE_STATEMENTS = _group(
    "said in vain",
    ("all that a role was given, dropped", "DROP OWNED BY morph_compiler, morph_platform, morph_trainer"),
    ("what is one's own, dropped", "DROP OWNED BY CURRENT_USER CASCADE"),
    ("the log given to everybody", "GRANT SELECT ON morph.event TO PUBLIC"),
    ("a function given to everybody", "GRANT EXECUTE ON FUNCTION morph.current_tenant() TO PUBLIC"),
    ("a message to whoever listens", "LISTEN mine; NOTIFY mine, 'kernel.published'; UNLISTEN *"),
    ("another tenant, by settings", "SET morph.tenant = '{other}'; SET app.tenant = '{other}'"),
    ("checks at once", "SET CONSTRAINTS ALL IMMEDIATE"),
)
