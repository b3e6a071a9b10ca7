"""Calls that differ from a right one in one thing, and the code that whoever may make the right one must get.

Whoever may not make it gets 42501 for the wrong one too.
"""

from dataclasses import dataclass

from tests.support.legal_calls import call

# SQLSTATEs by the name of their error in `registry/errors.py`, and PostgreSQL's own.
ILLEGAL, GUARD, STALE, FENCED, UNKNOWN = "MO002", "MO003", "MO004", "MO005", "MO006"
QUOTA, GONE, HELD, FORBIDDEN = "MO008", "MO010", "MO011", "42501"
CHECK, MISSING_KEY, TWICE, NULLED, BAD_VALUE, OUT_OF_RANGE = "23514", "23503", "23505", "23502", "22023", "22003"


@dataclass(frozen=True)
class RefusedCall:
    """What is tried, in one call."""

    tried: str
    function: str
    statement: str
    code: str


def cases(function: str, *cases: tuple[str, dict[str, str], str]) -> tuple[RefusedCall, ...]:
    return tuple(
        RefusedCall(f"{function}: {tried}", function, call(function, **changed), code) for tried, changed, code in cases
    )


# What each function makes of a kernel that is in a state from which it must not do it.
_TRANSITIONS = {
    "start_evaluation": "validated rejected published revoked retired",
    "publish_kernel": "compiled validating rejected quarantined revoked retired",
    "quarantine_kernel": "rejected revoked retired",
    "revoke_kernel": "rejected retired",
    "retire_kernel": "validating",
    "decide_kernel": "compiled validating rejected published quarantined revoked retired",
}
FORBIDDEN_TRANSITIONS = tuple(
    RefusedCall(f"{function} of a kernel that is {state}", function, call(function, p_kernel=f"%({state})s"), ILLEGAL)
    for function, states in _TRANSITIONS.items()
    for state in states.split()
) + tuple(
    RefusedCall(
        f"a report that says {verdict} of a kernel that is {state}",
        "record_report",
        call(
            "record_report",
            p_kernel=f"%({state})s",
            p_verdict=f"'{verdict}'",
            p_attestation="'signed'::bytea" if verdict == "pass" else "NULL",
        ),
        ILLEGAL,
    )
    for state in ("compiled", "rejected", "quarantined", "revoked", "retired")
    for verdict in ("pass", "fail", "error")
)

# Nobody's, and the other tenant's, are refused in the same words: who asks learns nothing.
UNKNOWN_AND_FOREIGN = tuple(
    RefusedCall(f"{function}: {whose} {parameter}", function, call(function, **{parameter: value}), code)
    for function, parameter, code, owned in (
        ("start_evaluation", "p_kernel", UNKNOWN, "compiled"),
        ("record_report", "p_kernel", UNKNOWN, "validating"),
        ("publish_kernel", "p_kernel", UNKNOWN, "validated"),
        ("quarantine_kernel", "p_kernel", UNKNOWN, "published"),
        ("revoke_kernel", "p_kernel", UNKNOWN, "published"),
        ("retire_kernel", "p_kernel", UNKNOWN, "compiled"),
        ("restore_kernel", "p_kernel", UNKNOWN, "retired"),
        ("begin_purge", "p_kernel", UNKNOWN, "due"),
        ("finish_purge", "p_kernel", UNKNOWN, "going"),
        ("decide_kernel", "p_kernel", UNKNOWN, "validated"),
        ("tell_artifact", "p_kernel", UNKNOWN, "published"),
        ("record_build", "p_blueprint", UNKNOWN, "own_blueprint"),
        ("record_failed_build", "p_blueprint", MISSING_KEY, "own_blueprint"),
        ("retire_release", "p_name", UNKNOWN, "own_name"),
        ("move_alias", "p_name", UNKNOWN, "own_name"),
        ("raise_index", "p_name", UNKNOWN, "own_name"),
        ("read_index", "p_name", STALE, "own_name"),
        ("record_restore", "p_checkpoint", UNKNOWN, "checkpoint"),
        ("fork_branch", "p_checkpoint", UNKNOWN, "checkpoint"),
        ("move_head", "p_checkpoint", UNKNOWN, "checkpoint"),
        ("tag_checkpoint", "p_checkpoint", UNKNOWN, "checkpoint"),
        ("pin_checkpoint", "p_checkpoint", UNKNOWN, "checkpoint"),
        ("commit_checkpoint", "p_parent", MISSING_KEY, "checkpoint"),
    )
    for whose, value in (
        ("another tenant's", f"%(other_{owned})s"),
        ("nobody's", "%(nobody)s" if owned == "checkpoint" else "'nobody'" if owned == "own_name" else "%(unknown)s"),
    )
)

BLUEPRINTS = cases(
    "submit_blueprint",
    ("a digest that is not the document's", {"p_digest": "%(unknown)s"}, CHECK),
    ("a digest in capitals", {"p_digest": "upper(encode(sha256('doc'), 'hex'))"}, CHECK),
    ("a digest with a line feed", {"p_digest": "encode(sha256('doc'), 'hex') || E'\\n'"}, CHECK),
    ("no digest", {"p_digest": "NULL"}, NULLED),
    (
        "a document over its limit",
        {"p_document": "repeat('x', 4194305)::bytea", "p_digest": "encode(sha256(repeat('x', 4194305)::bytea), 'hex')"},
        CHECK,
    ),
    ("a name that is a path", {"p_name": "'a/../b'"}, CHECK),
    ("a tag with a space", {"p_tags": "'{\"a b\"}'"}, CHECK),
    ("a tag that is null", {"p_tags": "'{mlp,NULL}'"}, CHECK),
    ("tags within tags", {"p_tags": "'{{a,b},{c,d}}'"}, CHECK),
    ("a tag over its limit", {"p_tags": "ARRAY[repeat('x', 64)]"}, CHECK),
    ("65 tags", {"p_tags": "ARRAY(SELECT 't' || n FROM generate_series(1, 65) n)"}, CHECK),
    ("an author over the limit", {"p_author": "repeat('x', 201)"}, CHECK),
    ("an unknown parent", {"p_parents": "ARRAY[%(unknown)s]"}, UNKNOWN),
    ("another tenant's blueprint as a parent", {"p_parents": "ARRAY[%(other_own_blueprint)s]"}, UNKNOWN),
    ("a parent that is null", {"p_parents": "'{NULL}'"}, UNKNOWN),
) + cases(
    "retire_release",
    ("a release behind an alias", {"p_name": "'served'", "p_version": "1"}, GUARD),
    ("a version that is not there", {"p_version": "99"}, UNKNOWN),
)

BUILDS = cases(
    "record_build",
    ("a digest that is none", {"p_kernel": "'abc'"}, CHECK),
    ("a digest in capitals", {"p_kernel": "upper(%(unknown)s)"}, CHECK),
    ("a build key that is none", {"p_build_key": "'key'"}, CHECK),
    ("a kernel that is here already under another build key", {"p_kernel": "%(published)s"}, ILLEGAL),
    ("another build under the same id", {"p_build": "%(build)s"}, TWICE),
    ("a target that is a list", {"p_target": "'[]'"}, NULLED),
    ("a target without a device", {"p_target": """'{"isa": "x", "dtype": "y", "torch": "z"}'"""}, NULLED),
    ("a kernel of no bytes", {"p_size_bytes": "0"}, CHECK),
    ("a bundle of less than nothing", {"p_bundle_bytes": "-1"}, CHECK),
    ("a bundle of another size than the stored one", {"p_bundle_digest": "%(bundle)s"}, GONE),
    ("a bundle that was removed", {"p_bundle_digest": "%(dead)s", "p_bundle_key": "'packs/1'"}, GONE),
    ("a bundle's place with a line feed", {"p_bundle_key": "E'a\\nb'"}, CHECK),
    ("no provenance", {"p_provenance": "NULL"}, NULLED),
    ("an empty provenance", {"p_provenance": "''"}, CHECK),
    ("a provenance over its limit", {"p_provenance": "repeat('x', 262145)::bytea"}, CHECK),
    ("a log over its limit", {"p_log_tail": "repeat('x', 65537)"}, CHECK),
    ("a toolchain of ten megabytes", {"p_toolchain": "repeat('x', 10485760)"}, CHECK),
    ("less than no time", {"p_cpu_s": "-1"}, CHECK),
    ("no number of seconds", {"p_wall_s": "'NaN'"}, OUT_OF_RANGE),
)


def _measured(*values: str, shape_class: str = "") -> str:
    measured = (
        f"""{{"metric": "latency_us", "value": {value}, "unit": "us", "shape_class": "{shape_class}"}}"""
        for value in values
    )
    return f"'[{', '.join(measured)}]'::jsonb"


REPORTS = cases(
    "record_report",
    ("a pass without its attestation", {"p_attestation": "NULL"}, GUARD),
    ("a failure with an attestation", {"p_verdict": "'fail'"}, GUARD),
    ("an error with an attestation", {"p_verdict": "'error'"}, GUARD),
    ("an attestation over its limit", {"p_attestation": "repeat('x', 262145)::bytea"}, CHECK),
    ("an empty attestation", {"p_attestation": "''"}, CHECK),
    ("a verdict of its own", {"p_verdict": "'fine'", "p_attestation": "NULL"}, CHECK),
    ("another kernel's report", {"p_report": "%(report)s"}, TWICE),
    ("a body over its limit", {"p_body": "repeat('x', 4194305)::bytea"}, CHECK),
    ("a latency that is no number", {"p_measurements": _measured('"NaN"')}, CHECK),
    ("a latency without end", {"p_measurements": _measured('"Infinity"')}, CHECK),
    ("a latency below nothing", {"p_measurements": _measured("-52")}, CHECK),
    ("a latency of nothing", {"p_measurements": _measured("0")}, CHECK),
    ("a latency below nothing, of one shape", {"p_measurements": _measured("-52", shape_class="b8")}, CHECK),
    ("the same measurement twice", {"p_measurements": _measured("52", "53")}, TWICE),
    ("measurements that are none", {"p_measurements": "'{}'"}, BAD_VALUE),
    ("a tag with a space", {"p_tags": "'{\"a b\"}'"}, CHECK),
    ("a tag that is null", {"p_tags": "'{mlp,NULL}'"}, CHECK),
    ("65 tags", {"p_tags": "ARRAY(SELECT 't' || n FROM generate_series(1, 65) n)"}, CHECK),
)

SERVICE = (
    cases(
        "retire_kernel",
        ("what a checkpoint needs", {"p_kernel": "%(needed)s"}, GUARD),
        ("the last body behind an alias", {"p_kernel": "%(body)s"}, GUARD),
        ("without a reason", {"p_reason": "NULL"}, NULLED),
    )
    + cases("quarantine_kernel", ("without a reason", {"p_reason": "NULL"}, NULLED))
    + cases("revoke_kernel", ("without a reason", {"p_reason": "NULL"}, NULLED))
    + cases(
        "move_alias",
        ("onto a release that is only submitted", {"p_name": "'ffn_gelu'", "p_expected": "NULL"}, GUARD),
        ("onto a retired release", {"p_name": "'ffn_gelu'", "p_version": "3", "p_expected": "NULL"}, GUARD),
        ("onto a release that is not there", {"p_version": "99"}, UNKNOWN),
        ("one that is frozen", {"p_alias": "'frozen'"}, GUARD),
        ("as seen before the last move", {"p_expected": "0"}, STALE),
        ("as nobody has seen it yet", {"p_expected": "2"}, STALE),
        ("as if it were new", {"p_expected": "NULL"}, STALE),
        ("one that is not there, as if it were", {"p_alias": "'canary'"}, STALE),
        ("named like a version", {"p_alias": "'v7'", "p_expected": "NULL"}, CHECK),
        ("named like the newest", {"p_alias": "'latest'", "p_expected": "NULL"}, CHECK),
        ("with a name that is a path", {"p_alias": "'a/b'", "p_expected": "NULL"}, CHECK),
    )
    + cases(
        "freeze_alias",
        ("without a reason", {"p_reason": "''"}, BAD_VALUE),
        ("for a reason over the limit", {"p_reason": "repeat('x', 1001)"}, CHECK),
        ("one that is not there", {"p_alias": "'canary'"}, UNKNOWN),
        ("of another tenant", {"p_name": "%(other_own_name)s"}, UNKNOWN),
    )
    + cases("read_index", ("a generation that is over", {"p_generation": "%(generation)s - 1"}, STALE))
    + cases("unfreeze_alias", ("one that is not there", {"p_alias": "'canary'"}, UNKNOWN))
    + cases(
        "pin",
        ("another tenant's kernel", {"p_subject": "'kernel/' || %(other_published)s"}, UNKNOWN),
        ("another tenant's release", {"p_subject": "'release/' || %(other_own_name)s || '@1'"}, UNKNOWN),
        ("another tenant's checkpoint", {"p_subject": "'checkpoint/' || %(other_checkpoint)s"}, UNKNOWN),
        ("a retired release", {"p_subject": "'release/ffn_gelu@3'"}, GUARD),
        ("what is none of the three", {"p_subject": "'run/run'"}, BAD_VALUE),
        ("without a reason", {"p_reason": "NULL"}, NULLED),
        ("for a reason over the limit", {"p_reason": "repeat('x', 1001)"}, CHECK),
        ("until it was over", {"p_until": "now() - interval '1 s'"}, BAD_VALUE),
    )
    + cases(
        "retire_kernel",
        ("what is pinned", {"p_kernel": "%(validated)s"}, GUARD),
        ("by a policy, what serves by an alias", {"p_kernel": "%(body)s", "p_policy": "'idle'"}, GUARD),
        ("with a grace of less than nothing", {"p_grace_s": "-1"}, BAD_VALUE),
        ("with a grace without end", {"p_grace_s": "1e12::bigint"}, BAD_VALUE),
    )
    + cases(
        "restore_kernel",
        ("what was never retired", {"p_kernel": "%(published)s"}, UNKNOWN),
        ("after its grace", {"p_kernel": "%(due)s"}, GUARD),
        ("once its removal has begun", {"p_kernel": "%(going)s"}, GUARD),
    )
    + cases(
        "begin_purge",
        ("what was never retired", {"p_kernel": "%(published)s"}, UNKNOWN),
        ("within its grace", {"p_kernel": "%(retired)s"}, GUARD),
    )
    + cases(
        "finish_purge",
        ("what was not begun", {"p_kernel": "%(due)s"}, GUARD),
        ("without a proof", {"p_proof_digest": "NULL"}, CHECK),
        ("with a proof that is none", {"p_proof_digest": "'abc'"}, CHECK),
    )
    + cases("pin", ("what is being removed", {"p_subject": "'kernel/' || %(going)s"}, GUARD))
    + cases("publish_kernel", ("a speculative one that nobody approved", {"p_kernel": "%(speculative)s"}, GUARD))
    + cases("decide_kernel", ("without a reason", {"p_reason": "''"}, BAD_VALUE))
    + cases(
        "report_served",
        ("another tenant's kernel", {"p_served": "jsonb_build_object(%(other_published)s::text, 1)"}, UNKNOWN),
        ("less than nothing", {"p_served": "jsonb_build_object(%(published)s::text, -1)"}, BAD_VALUE),
        ("more than a day", {"p_from": "now() - interval '25 hours'"}, BAD_VALUE),
        ("what is still to come", {"p_to": "now() + interval '1 hour'"}, BAD_VALUE),
        ("for a run that is not there", {"p_run": "'nobody'"}, MISSING_KEY),
    )
    + cases(
        "set_policy",
        ("with the parameter of another kind", {"p_kind": "'slower'"}, CHECK),
        ("with one more", {"p_parameters": """'{"days": 90, "keep": 1}'::jsonb"""}, CHECK),
        ("with days that are no number", {"p_parameters": """'{"days": "90"}'::jsonb"""}, CHECK),
        ("of a kind of its own", {"p_kind": "'whim'"}, CHECK),
        ("as somebody else has changed it", {"p_expected": "7"}, STALE),
    )
    + cases(
        "lower_quota",
        ("upwards", {"p_limit": "20000000"}, FORBIDDEN),
        ("below what is used", {"p_limit": "1"}, GUARD),
        ("below nothing", {"p_limit": "-1"}, GUARD),
        ("to no limit", {"p_limit": "NULL"}, NULLED),
        ("of what has no limit", {"p_resource": "'ideas'"}, BAD_VALUE),
    )
    + cases("require_quota", ("more than there is", {"p_amount": "20000000"}, QUOTA))
    + cases(
        "tell_artifact",
        ("an event that it may not tell", {"p_event": "'kernel.published'"}, BAD_VALUE),
        ("no event at all", {"p_event": "NULL"}, NULLED),
    )
    + cases(
        "record_security",
        ("an event of the other chain", {"p_type": "'kernel.published'"}, BAD_VALUE),
        ("a failed login that nobody saw", {"p_type": "'security.login_failed'"}, BAD_VALUE),
        ("facts over their limit", {"p_facts": "jsonb_build_object('x', repeat('x', 16385))"}, CHECK),
        ("a subject with a line feed", {"p_subject": "E'a\\nb'"}, CHECK),
    )
    + cases(
        "advance_relay",
        ("past the log's end", {"p_seq": "1000000000"}, BAD_VALUE),
        ("backwards", {"p_expected": "5", "p_seq": "4"}, BAD_VALUE),
        ("one that is not there", {"p_relay": "'mine'"}, CHECK),
    )
)

REFUSED_CALLS = (*FORBIDDEN_TRANSITIONS, *UNKNOWN_AND_FOREIGN, *BLUEPRINTS, *BUILDS, *REPORTS, *SERVICE)
