"""Why something was refused or not used: one vocabulary for errors, metric labels and audit tags."""

from enum import StrEnum, unique


@unique
class Reason(StrEnum):
    """A reason is a fact that a person can act on; it never carries a digest or a path."""

    # The index has no answer.
    NO_TRUST = "no_trust"
    NO_INDEX = "no_index"
    NO_ALIAS = "no_alias"
    NO_VARIANT = "no_variant"
    INDEX_EXPIRED = "index_expired"
    INDEX_ROLLED_BACK = "index_rolled_back"
    # The artifact cannot be trusted.
    MALFORMED = "malformed"
    DIGEST_MISMATCH = "digest_mismatch"
    TOO_LARGE = "too_large"
    UNSIGNED = "unsigned"
    UNTRUSTED_KEY = "untrusted_key"
    WRONG_ROLE = "wrong_role"
    BAD_SIGNATURE = "bad_signature"
    KEY_EXPIRED = "key_expired"
    KEY_REVOKED = "key_revoked"
    DEVELOPMENT_KEY = "development_key"
    ATTESTATION_MISMATCH = "attestation_mismatch"
    EVALUATION_FAILED = "evaluation_failed"
    WRONG_TENANT = "wrong_tenant"
    REVOKED = "revoked"
    QUARANTINED = "quarantined"
    # The artifact does not fit this process.
    WRONG_DEVICE = "wrong_device"
    WRONG_ISA = "wrong_isa"
    WRONG_LIBC = "wrong_libc"
    TORCH_NOT_VALIDATED = "torch_not_validated"
    LIBRARY_CAP = "library_cap"
    LOAD_FAILED = "load_failed"
    # A tier did not answer.
    NOT_FOUND = "not_found"
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"
    BREAKER_OPEN = "breaker_open"
    # The call does not fit the compiled body.
    EVAL_MODE = "eval_mode"
    GRAD_DISABLED = "grad_disabled"
    AUTOCAST = "autocast"
    OTHER_DTYPE = "other_dtype"
    OTHER_DEVICE = "other_device"
    OUT_OF_RANGE = "out_of_range"
    STRIDES = "strides"
    FUNCTORCH = "functorch"
    FROZEN = "frozen"
    TENSOR_SUBCLASS = "tensor_subclass"
    STATE_CHANGED = "state_changed"
    NOT_READY = "not_ready"
    REQUESTED = "requested"
    PINNED = "pinned"
    # The way from a restored checkpoint is not the saved run's.
    BODY_CHANGED = "body_changed"
    THREADS_CHANGED = "threads_changed"
    ISA_CHANGED = "isa_changed"
    TORCH_CHANGED = "torch_changed"
    WORLD_SIZE_CHANGED = "world_size_changed"
