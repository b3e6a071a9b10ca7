"""Calls around leases, runs and checkpoints that must not succeed; `refused_calls.py` has the others."""

from tests.support.legal_calls import LEASE_OF_ITS_KIND, blob
from tests.support.refused_calls import (
    BAD_VALUE,
    CHECK,
    FENCED,
    FORBIDDEN,
    GONE,
    GUARD,
    HELD,
    NULLED,
    STALE,
    UNKNOWN,
    cases,
)

LEASES = (
    cases(
        "acquire_lease",
        ("a run's", {"p_name": "'run/fresh'"}, FORBIDDEN),
        ("a run's that is held, as its holder", {"p_name": "'run/run'", "p_holder": "%(writer)s"}, FORBIDDEN),
        ("of a kind that there is not", {"p_name": "'curation'"}, FORBIDDEN),
        ("for ever", {"p_ttl_s": "'Infinity'"}, BAD_VALUE),
        ("for no number of seconds", {"p_ttl_s": "'NaN'"}, BAD_VALUE),
        ("for less than no time", {"p_ttl_s": "-1"}, BAD_VALUE),
        ("with a name that holds a space", {"p_name": f"{LEASE_OF_ITS_KIND} || ' b'"}, CHECK),
        ("with a name over the limit", {"p_name": f"{LEASE_OF_ITS_KIND} || repeat('x', 200)"}, CHECK),
        ("held by nobody", {"p_holder": "NULL"}, NULLED),
    )
    + tuple(
        case
        for function in ("renew_lease", "fence")
        for case in cases(
            function,
            ("somebody else's", {"p_holder": "%(nobody)s"}, FENCED),
            ("with an epoch to come", {"p_epoch": "%(epoch)s + 1"}, FENCED),
            ("with an epoch of no timeline", {"p_epoch": "0"}, FENCED),
            (
                "after it was lost to another",
                {"p_name": "'build/lost'", "p_holder": "%(lost_holder)s", "p_epoch": "%(lost_epoch)s"},
                FENCED,
            ),
            (
                "with the epoch from before its own restart",
                {"p_name": "'build/restarted'", "p_epoch": "%(restarted_epoch)s"},
                FENCED,
            ),
            ("another tenant's", {"p_holder": "%(other_holder)s", "p_epoch": "%(other_epoch)s"}, FENCED),
            ("one that is not there", {"p_name": "'build/never'"}, FENCED),
        )
    )
    + cases("renew_lease", ("for ever", {"p_ttl_s": "'Infinity'"}, BAD_VALUE))
    + cases(
        "open_run",
        ("one with another live writer", {"p_run": "'run'"}, HELD),
        ("one that is a path", {"p_run": "'a/b'"}, CHECK),
        ("for ever", {"p_ttl_s": "'Infinity'"}, BAD_VALUE),
    )
    + cases(
        "renew_run",
        ("somebody else's", {"p_holder": "%(nobody)s"}, FENCED),
        ("with the epoch from before its restart", {"p_epoch": "%(old_run_epoch)s"}, FENCED),
        ("another tenant's", {"p_holder": "%(other_writer)s", "p_epoch": "%(other_run_epoch)s"}, FENCED),
    )
)

CHECKPOINTS = cases(
    "commit_checkpoint",
    ("as somebody who does not hold the run", {"p_holder": "%(nobody)s"}, FENCED),
    ("with the epoch from before a restart", {"p_lease_epoch": "%(old_run_epoch)s"}, FENCED),
    ("as the other tenant's writer", {"p_holder": "%(other_writer)s", "p_lease_epoch": "%(other_run_epoch)s"}, FENCED),
    ("into a run that nobody opened", {"p_run": "'never'"}, FENCED),
    ("from a head that it is not", {"p_expected_head": "%(nobody)s"}, STALE),
    ("as the first of a branch that has one", {"p_expected_head": "NULL"}, STALE),
    ("as the next of a branch that has none", {"p_branch": "'new'"}, STALE),
    ("another manifest under the same id", {"p_checkpoint": "%(checkpoint)s"}, STALE),
    (
        "the same manifest and id into another run",
        {"p_checkpoint": "%(checkpoint)s", "p_manifest_digest": "%(manifest)s", "p_run": "'another'"},
        STALE,
    ),
    ("its own parent", {"p_checkpoint": "%(nobody)s", "p_parent": "%(nobody)s"}, CHECK),
    ("a removed blob at its old place", {"p_blobs": blob("%(dead)s")}, GONE),
    ("a blob of another size", {"p_blobs": blob(size="11")}, GONE),
    ("a blob of less than nothing", {"p_blobs": blob("%(unknown)s", size="-1")}, CHECK),
    ("a blob before the start of its pack", {"p_blobs": blob("%(unknown)s", offset="-1")}, CHECK),
    ("a blob whose place holds a line feed", {"p_blobs": blob("%(unknown)s", location="E'a\\nb'")}, CHECK),
    ("a blob whose place is over the limit", {"p_blobs": blob("%(unknown)s", location="repeat('x', 1025)")}, CHECK),
    ("a blob without a place", {"p_blobs": blob("%(unknown)s", location="NULL")}, NULLED),
    ("a blob with a digest in capitals", {"p_blobs": blob("upper(%(unknown)s)")}, CHECK),
    ("blobs that are none", {"p_blobs": "'{}'"}, BAD_VALUE),
    ("a kernel that nobody knows", {"p_kernels": "ARRAY[%(unknown)s]"}, UNKNOWN),
    ("a kernel of another tenant", {"p_kernels": "ARRAY[%(other_needed)s]"}, UNKNOWN),
    ("a kernel that is null", {"p_kernels": "ARRAY[NULL]"}, UNKNOWN),
    ("a manifest digest that is none", {"p_manifest_digest": "'abc'"}, CHECK),
    ("a manifest key with a space", {"p_manifest_key": "'a b'"}, CHECK),
    ("a manifest key over the limit", {"p_manifest_key": "repeat('x', 1025)"}, CHECK),
    ("a controller version over the limit", {"p_controller_version": "repeat('x', 201)"}, CHECK),
    ("no ranks", {"p_world_size": "0"}, CHECK),
    ("an epoch before the first", {"p_epoch": "-1"}, CHECK),
    ("a step before the first", {"p_step": "-1"}, CHECK),
) + cases(
    "record_restore",
    ("as somebody who does not hold the run", {"p_holder": "%(nobody)s"}, FENCED),
    ("with the epoch from before a restart", {"p_lease_epoch": "%(old_run_epoch)s"}, FENCED),
)

HISTORY = (
    tuple(
        case
        for function in ("fork_branch", "move_head", "tag_checkpoint", "pin_checkpoint", "unpin_checkpoint")
        for case in cases(
            function,
            ("as somebody who does not hold the run", {"p_holder": "%(nobody)s"}, FENCED),
            ("with the epoch from before a restart", {"p_lease_epoch": "%(old_run_epoch)s"}, FENCED),
            ("of a run that nobody opened", {"p_run": "'never'"}, FENCED),
        )
    )
    + cases(
        "fork_branch",
        ("over a branch that has another head", {"p_branch": "'main'", "p_checkpoint": "%(earlier)s"}, STALE),
        ("to a branch that is a path", {"p_branch": "'a/b'"}, CHECK),
    )
    + cases(
        "move_head",
        ("from a head that it is not", {"p_expected_head": "%(nobody)s"}, STALE),
        ("from no head", {"p_expected_head": "NULL"}, STALE),
        ("of a branch that there is not", {"p_branch": "'new'"}, STALE),
    )
    + cases(
        "tag_checkpoint",
        ("away from what it names, untold to move", {"p_tag": "'good'"}, STALE),
        ("with a name that is a path", {"p_tag": "'a/b'"}, CHECK),
    )
    + cases(
        "pin_checkpoint",
        ("that a curator pinned", {"p_checkpoint": "%(checkpoint)s"}, GUARD),
        ("for no reason", {"p_reason": "''"}, CHECK),
        ("until yesterday", {"p_until": "now() - interval '1 day'"}, BAD_VALUE),
    )
    + cases("unpin_checkpoint", ("that a curator pinned", {"p_checkpoint": "%(checkpoint)s"}, GUARD))
)

REFUSED_RUNS = (*LEASES, *CHECKPOINTS, *HISTORY)
