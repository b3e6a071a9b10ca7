"""Says what to do about a kernel that training does not get compiled."""

from collections.abc import Mapping

from morph_kernels.reasons import Reason

_FORGED = "find out who wrote it: `morph kernel verify`; `morph cache scrub` mends what is only damaged"
_PUBLISH = (
    "publish it (`morph kernel publish NAME`), or check that MORPH_TENANT and the MORPH_*_URL are the publisher's"
)
_RESTORE = "where the platform runs, sign the index again: `morph kernel publish NAME`"
_SERVER = "look whether the server answers from here: `morph status`; raise MORPH_DEADLINE_S if it is only far away"
_BUILD = "have it built for this machine: `morph cache requests --build` where the platform runs"
_TRUST = "copy the platform's newest trust file here and name it in MORPH_TRUST_FILE"
_TORCH = "evaluate it under this torch: `morph kernel evaluate NAME` on a machine that has it"
_DISK = "make MORPH_CACHE_DIR a folder of this user alone, on a disk with room"
_ADVICE: Mapping[Reason, str] = {
    Reason.NO_TRUST: _TRUST,
    Reason.UNTRUSTED_KEY: _TRUST,
    Reason.KEY_EXPIRED: _TRUST,
    Reason.KEY_REVOKED: _BUILD,
    Reason.NO_INDEX: _PUBLISH,
    Reason.NO_ALIAS: "point the alias at a release: `morph kernel promote NAME@VERSION ALIAS`",
    Reason.INDEX_EXPIRED: _RESTORE,
    Reason.INDEX_ROLLED_BACK: _RESTORE,
    Reason.TRUST_ROLLED_BACK: _TRUST,
    Reason.CRASHED_HERE: "it ended a process here: `morph kernel why NAME` names the marker; build it anew, or wait",
    Reason.NO_VARIANT: _BUILD,
    Reason.WRONG_DEVICE: _BUILD,
    Reason.WRONG_ISA: _BUILD,
    Reason.WRONG_LIBC: _BUILD,
    Reason.TORCH_NOT_VALIDATED: _TORCH,
    Reason.DEVELOPMENT_KEY: "build in a real sandbox, or on a development machine set MORPH_ALLOW_DEVELOPMENT_KEYS=1",
    Reason.EVALUATION_FAILED: _BUILD,
    Reason.REVOKED: "build another one: `morph kernel compile NAME`, or load an earlier release",
    Reason.WRONG_TENANT: "set MORPH_TENANT to the tenant that published it",
    Reason.QUARANTINED: "evaluate it again: `morph kernel evaluate NAME`; until then it stays eager",
    Reason.LIBRARY_CAP: "raise MORPH_LIBRARY_CAP: a process never unloads a library",
    Reason.LOAD_FAILED: "see what the linker says: `morph kernel verify NAME`, then build it anew",
    Reason.NOT_FOUND: "bring its bytes back: `morph cache scrub` mends the store, or builds it anew",
    Reason.DEADLINE: _SERVER,
    Reason.UNAVAILABLE: _SERVER,
    Reason.BREAKER_OPEN: _SERVER,
    Reason.NOT_PRIVATE: _DISK,
    Reason.DISK_UNUSABLE: _DISK,
    **dict.fromkeys(
        (
            Reason.MALFORMED,
            Reason.DIGEST_MISMATCH,
            Reason.TOO_LARGE,
            Reason.UNSIGNED,
            Reason.WRONG_ROLE,
            Reason.BAD_SIGNATURE,
            Reason.ATTESTATION_MISMATCH,
        ),
        _FORGED,
    ),
}


def advise_load(reason: Reason) -> str:
    """Return what to do about it; empty for what is no fault, such as a module that was asked to run eager."""
    return _ADVICE.get(reason, "")
