"""Every function that a login may call: who may, and a call that is right on the hostile ground.

A refusal proves something only beside a call that differs from it in one thing and succeeds.
"""

from dataclasses import dataclass

from morph_assets.registry.migrate import ROLES

EVERY = " ".join(ROLES)
READERS = " ".join(role for role in ROLES if role != "trainer")
WORKERS = "platform compiler evaluator publisher trainer"


def blob(digest: str = "%(blob)s", location: str = "'packs/1'", offset: str = "0", size: str = "10") -> str:
    """Return one blob of a checkpoint, as SQL."""
    return (
        f"jsonb_build_array(jsonb_build_object('digest', {digest}::text, 'location', {location}::text,"
        f" 'byte_offset', {offset}, 'size_bytes', {size}))"
    )


@dataclass(frozen=True)
class LegalCall:
    """A function, the roles that may call it, and its arguments as SQL."""

    roles: frozenset[str]
    arguments: dict[str, str]


def _call(roles: str, **arguments: str) -> LegalCall:
    return LegalCall(frozenset(roles.split()), arguments)


# A lease that the login may take.
LEASE_OF_ITS_KIND = """CASE substring(session_user FROM '[a-z]+$')
    WHEN 'evaluator' THEN 'evaluation/free' WHEN 'publisher' THEN 'relay/index' ELSE 'build/free' END"""
_HELD_RUN = {"p_run": "'run'", "p_holder": "%(writer)s", "p_lease_epoch": "%(run_epoch)s"}
_COST = {"p_cpu_s": "1.5", "p_wall_s": "1", "p_isolation": "'bubblewrap'", "p_log_tail": "'done'"}
LEGAL_CALLS = {
    "current_tenant": _call(EVERY),
    "current_timeline": _call(EVERY),
    "submit_blueprint": _call(
        "platform curator admin",
        p_name="'fresh'",
        p_digest="encode(sha256('doc'), 'hex')",
        p_document="'doc'::bytea",
        p_tags="'{mlp}'",
        p_author="'ada'",
        p_parents="'{}'",
    ),
    "retire_release": _call("publisher curator admin", p_name="'ffn_gelu'", p_version="2", p_reason="'x'"),
    "record_build": _call(
        "compiler",
        p_build="gen_random_uuid()",
        p_kernel="%(unknown)s",
        p_blueprint="%(blueprint)s",
        p_build_key="%(unknown)s",
        p_target="""'{"device": "cpu", "isa": "x86-64-v3", "dtype": "float32", "torch": "2.13.0"}'::jsonb""",
        p_toolchain="'g++'",
        p_pipeline="'standard'",
        p_recipe_version="1",
        p_size_bytes="700000",
        p_bundle_digest="%(unknown)s",
        p_bundle_key="'bundles/1'",
        p_bundle_bytes="10",
        p_provenance="'signed'::bytea",
        p_speculative="false",
        **_COST,
    ),
    "record_failed_build": _call(
        "compiler",
        p_build="gen_random_uuid()",
        p_blueprint="%(blueprint)s",
        p_build_key="%(unknown)s",
        p_reason="'compile_failed'",
        **_COST,
    ),
    "start_evaluation": _call("evaluator", p_kernel="%(compiled)s"),
    "record_report": _call(
        "evaluator",
        p_report="gen_random_uuid()",
        p_kernel="%(validating)s",
        p_suite="'numerics'",
        p_verdict="'pass'",
        p_body="'{}'::bytea",
        p_runtime_torch="'2.13.0'",
        p_runtime_device="'cpu'",
        p_runtime_isa="'x86-64-v3'",
        p_measurements="""'[{"metric": "latency_us", "value": 52, "unit": "us"}]'::jsonb""",
        p_tags="'{mlp}'",
        p_attestation="'signed'::bytea",
    ),
    "publish_kernel": _call("publisher", p_kernel="%(validated)s"),
    "move_alias": _call("publisher curator", p_name="'served'", p_alias="'production'", p_version="2", p_expected="1"),
    "freeze_alias": _call("curator admin", p_name="'served'", p_alias="'production'", p_reason="'release'"),
    "unfreeze_alias": _call("curator admin", p_name="'served'", p_alias="'frozen'", p_reason="'done'"),
    "pin": _call("platform curator admin", p_subject="'kernel/' || %(published)s", p_reason="'x'", p_until="NULL"),
    "unpin": _call("curator admin", p_subject="'kernel/' || %(validated)s", p_reason="'x'"),
    "require_quota": _call("platform compiler trainer curator admin", p_resource="'kernels'", p_amount="1"),
    "lower_quota": _call("admin", p_resource="'kernels'", p_limit="1000", p_reason="'x'"),
    "raise_index": _call("publisher", p_name="'served'"),
    "read_index": _call("publisher", p_name="'served'", p_generation="%(generation)s"),
    "index_was_published": _call("publisher", p_name="'served'", p_generation="1", p_seq="1"),
    "tell_artifact": _call(
        "platform curator",
        p_kernel="%(published)s",
        p_event="'artifact.damaged'",
        p_tier="'disk'",
        p_reason="'torn'",
        p_action="'dropped'",
    ),
    "quarantine_kernel": _call(
        "platform evaluator publisher curator admin", p_kernel="%(published)s", p_reason="'odd'"
    ),
    "revoke_kernel": _call("publisher curator admin", p_kernel="%(published)s", p_reason="'wrong'"),
    "retire_kernel": _call(
        "curator admin", p_kernel="%(compiled)s", p_reason="'unused'", p_policy="''", p_grace_s="60"
    ),
    "restore_kernel": _call("curator admin", p_kernel="%(retired)s", p_reason="'wanted'"),
    "begin_purge": _call("curator admin", p_kernel="%(due)s"),
    "finish_purge": _call(
        "curator admin", p_kernel="%(going)s", p_proof_digest="%(unknown)s", p_proof_key="'proofs/1'"
    ),
    "set_policy": _call(
        "curator admin",
        p_name="'idle'",
        p_kind="'unused'",
        p_parameters="""'{"days": 90}'::jsonb""",
        p_grace_s="60",
        p_enabled="true",
        p_expected="NULL",
    ),
    "decide_kernel": _call("curator", p_kernel="%(validated)s", p_approved="true", p_reason="'fine'"),
    "meter_storage": _call("platform curator admin", p_limit="10"),
    "report_served": _call(
        "platform publisher trainer",
        p_report="gen_random_uuid()",
        p_run="'run'",
        p_served="jsonb_build_object(%(published)s::text, 220000)",
        p_from="now() - interval '1 minute'",
        p_to="now()",
    ),
    "kernel_uses": _call("platform curator admin auditor", p_after="''", p_limit="10"),
    "record_security": _call(
        EVERY, p_type="'security.access_refused'", p_subject="'kernel/x'", p_facts="""'{"why": "x"}'::jsonb"""
    ),
    "record_failed_logins": _call("auditor", p_login="%(login)s", p_minute="now()", p_count="3"),
    "advance_relay": _call("platform auditor", p_relay="'archive'", p_expected="0", p_seq="1"),
    "anchor_heads": _call("auditor"),
    "acquire_lease": _call(
        "platform compiler evaluator publisher", p_name=LEASE_OF_ITS_KIND, p_holder="gen_random_uuid()", p_ttl_s="60"
    ),
    "renew_lease": _call(WORKERS, p_name="'build/held'", p_holder="%(holder)s", p_epoch="%(epoch)s", p_ttl_s="60"),
    "release_lease": _call(WORKERS, p_name="'build/held'", p_holder="%(holder)s", p_epoch="%(epoch)s"),
    "fence": _call(WORKERS, p_name="'build/held'", p_holder="%(holder)s", p_epoch="%(epoch)s"),
    "seq_at": _call(READERS, p_at="now()"),
    "trace_lineage": _call(
        READERS, p_node="'kernel/' || %(needed)s", p_upward="false", p_as_of="NULL", p_max_depth="6", p_limit="100"
    ),
    "impact_of": _call(READERS, p_kernel="%(needed)s"),
    "import_kernels": _call(
        "curator admin",
        p_import="gen_random_uuid()",
        p_manifest="""convert_to('{"format":1,"kind":"manifest"}' || E'\\n' || '{"author":"ada","document":"e30=",'
            || '"kind":"blueprint","name":"imported","parents":[],"tags":[]}' || E'\\n', 'UTF8')""",
        p_manifest_key="'tenants/t/blobs/aa/manifest'",
    ),
    "search_kernels": _call(EVERY, p_query="'{}'::jsonb", p_limit="10", p_cursor="NULL"),
    "open_run": _call("trainer", p_run="'fresh'", p_holder="gen_random_uuid()", p_ttl_s="60"),
    "renew_run": _call("trainer", p_run="'run'", p_holder="%(writer)s", p_epoch="%(run_epoch)s", p_ttl_s="60"),
    "live_blobs": _call("trainer platform", p_digests="ARRAY[%(blob)s]"),
    "commit_checkpoint": _call(
        "trainer",
        p_checkpoint="gen_random_uuid()",
        p_run="'run'",
        p_branch="'main'",
        p_parent="%(checkpoint)s",
        p_holder="%(writer)s",
        p_lease_epoch="%(run_epoch)s",
        p_epoch="1",
        p_step="2",
        p_controller_version="'v1'",
        p_world_size="1",
        p_manifest_digest="%(unknown)s",
        p_manifest_key="'m/2'",
        p_blobs=blob(),
        p_kernels="ARRAY[%(needed)s]",
        p_expected_head="%(checkpoint)s",
    ),
    "record_restore": _call(
        "trainer",
        p_run="'run'",
        p_holder="%(writer)s",
        p_lease_epoch="%(run_epoch)s",
        p_checkpoint="%(checkpoint)s",
    ),
    "resolve_checkpoint": _call(
        EVERY,
        p_run="'run'",
        p_branch="'main'",
        p_checkpoint="NULL",
        p_tag="NULL",
        p_epoch="1",
        p_step="NULL",
        p_at="NULL",
        p_before="NULL",
    ),
    "fork_branch": _call("trainer", **_HELD_RUN, p_branch="'side'", p_checkpoint="%(checkpoint)s"),
    "move_head": _call(
        "trainer", **_HELD_RUN, p_branch="'main'", p_checkpoint="%(earlier)s", p_expected_head="%(checkpoint)s"
    ),
    "tag_checkpoint": _call("trainer", **_HELD_RUN, p_tag="'best'", p_checkpoint="%(checkpoint)s", p_move="false"),
    "pin_checkpoint": _call(
        "trainer", **_HELD_RUN, p_checkpoint="%(earlier)s", p_reason="'paper in review'", p_until="NULL"
    ),
    "unpin_checkpoint": _call("trainer", **_HELD_RUN, p_checkpoint="%(earlier)s", p_reason="'published'"),
    "find_checkpoints": _call(EVERY, p_run="'run'", p_branch="NULL", p_limit="10"),
    "checkpoint_blobs": _call("trainer platform controller auditor curator admin", p_checkpoint="%(checkpoint)s"),
}


def call(function: str, **changed: str) -> str:
    """Return the statement that calls the function rightly but for what is changed."""
    arguments = LEGAL_CALLS[function].arguments
    unknown = set(changed) - set(arguments)
    if unknown:
        raise ValueError(f"{function} has no {sorted(unknown)}")
    named = ", ".join(f"{name} => {value}" for name, value in (arguments | changed).items())
    return f"SELECT morph.{function}({named})"
