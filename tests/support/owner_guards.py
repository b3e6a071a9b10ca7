"""What not even the owner of the tables does by hand: refused at once by a guard, or at COMMIT for want of an event."""

from dataclasses import dataclass

ILLEGAL, GUARD, EVENTLESS, IMMUTABLE, MISSING_KEY, CHECK = "MO002", "MO003", "MO007", "MO009", "23503", "23514"


@dataclass(frozen=True)
class OwnersStatement:
    """What is tried, its statements, and the code that must refuse them or their commit."""

    tried: str
    statements: str
    code: str


def _group(table: str, *tried: tuple[str, str, str]) -> tuple[OwnersStatement, ...]:
    return tuple(OwnersStatement(f"{table}: {what}", statements, code) for what, statements, code in tried)


def _of(table: str, verb: str, condition: str = "true") -> str:
    return " ".join((verb, f"morph.{table}", "WHERE tenant = %(tenant)s AND", condition))


def _changed(table: str, change: str, condition: str = "true") -> str:
    return " ".join(("UPDATE", f"morph.{table}", "SET", change, "WHERE tenant = %(tenant)s AND", condition))


def _kernel(state: str, change: str) -> str:
    return _changed("kernel", change, f"digest = %({state})s")


def _release(name: str, version: int, change: str) -> str:
    return _changed("blueprint_release", change, f"name = '{name}' AND version = {version}")


def _copied_kernel(state: str) -> str:
    return """INSERT INTO morph.kernel (tenant, digest, blueprint_digest, build_key, target, toolchain, pipeline,
                  recipe_version, size_bytes, bundle_digest, bundle_key, state)
              SELECT tenant, %(unknown)s, blueprint_digest, %(unknown)s, target, toolchain, pipeline, recipe_version,
                  size_bytes, bundle_digest, bundle_key, '<state>'
              FROM morph.kernel WHERE tenant = %(tenant)s AND digest = %(compiled)s""".replace("<state>", state)


def _copied_release(version: int, state: str) -> str:
    copied = """INSERT INTO morph.blueprint_release
                    (tenant, name, version, blueprint_digest, state, tags, author, parents)
                SELECT tenant, 'ffn_gelu', <version>, blueprint_digest, '<state>', tags, author, parents
                FROM morph.blueprint_release WHERE tenant = %(tenant)s AND name = %(own_name)s"""
    return copied.replace("<version>", str(version)).replace("<state>", state)


KERNELS = _group(
    "kernel",
    ("another state, legal, but told to nobody", _kernel("published", "state = 'QUARANTINED'"), EVENTLESS),
    ("published, with all its evidence, but told to nobody", _kernel("validated", "state = 'PUBLISHED'"), EVENTLESS),
    ("better numbers", _kernel("published", "latency_us = 1"), EVENTLESS),
    ("one that nobody built", _copied_kernel("COMPILED"), EVENTLESS),
    ("one that begins validated, though no import brings it", _copied_kernel("VALIDATED"), GUARD),
    ("one that begins published", _copied_kernel("PUBLISHED"), ILLEGAL),
    ("validated without a report", _kernel("validating", "state = 'VALIDATED'"), GUARD),
    ("rejected without a report", _kernel("validating", "state = 'REJECTED'"), GUARD),
    ("back to compiled without an error", _kernel("validating", "state = 'COMPILED'"), GUARD),
    ("retired, though a checkpoint needs it", _kernel("needed", "state = 'RETIRED'"), GUARD),
    ("retired, though an alias needs it", _kernel("body", "state = 'RETIRED'"), GUARD),
    ("published though rejected", _kernel("rejected", "state = 'PUBLISHED'"), ILLEGAL),
    ("published though quarantined", _kernel("quarantined", "state = 'PUBLISHED'"), ILLEGAL),
    ("back from being revoked", _kernel("revoked", "state = 'VALIDATING'"), ILLEGAL),
    ("back from retirement", _kernel("retired", "state = 'COMPILED'"), GUARD),
    ("another digest", _kernel("compiled", "digest = %(unknown)s"), IMMUTABLE),
    ("another tenant", _kernel("compiled", "tenant = %(other_tenant)s"), IMMUTABLE),
    ("another blueprint", _kernel("compiled", "blueprint_digest = %(own_blueprint)s"), IMMUTABLE),
    ("another build key", _kernel("compiled", "build_key = %(unknown)s"), IMMUTABLE),
    ("another target", _kernel("compiled", """target = target || '{"isa": "x86-64-v4"}'"""), IMMUTABLE),
    ("other bytes", _kernel("compiled", "bundle_digest = %(blob)s"), IMMUTABLE),
    ("another size", _kernel("compiled", "size_bytes = 1"), IMMUTABLE),
    ("one that was built, gone", _of("kernel", "DELETE FROM", "digest = %(compiled)s"), MISSING_KEY),
    ("one that a checkpoint needs, gone", _of("kernel", "DELETE FROM", "digest = %(needed)s"), MISSING_KEY),
)

RELEASES = _group(
    "blueprint_release",
    ("retired, but told to nobody", _release("ffn_gelu", 2, "state = 'RETIRED'"), EVENTLESS),
    ("one that nobody submitted", _copied_release(4, "SUBMITTED"), EVENTLESS),
    ("one that leaves a gap", _copied_release(6, "SUBMITTED"), ILLEGAL),
    ("one that begins published", _copied_release(4, "PUBLISHED"), ILLEGAL),
    ("published without a kernel", _release("ffn_gelu", 2, "state = 'PUBLISHED'"), GUARD),
    ("retired behind an alias", _release("served", 1, "state = 'RETIRED'"), GUARD),
    ("back from retirement", _release("ffn_gelu", 3, "state = 'PUBLISHED'"), ILLEGAL),
    ("no longer published", _release("ffn_gelu", 1, "state = 'SUBMITTED'"), ILLEGAL),
    ("another digest", _release("ffn_gelu", 2, "blueprint_digest = %(own_blueprint)s"), IMMUTABLE),
    ("another number", _release("ffn_gelu", 2, "version = 9"), IMMUTABLE),
    ("other tags", _release("ffn_gelu", 2, "tags = '{fast}'"), IMMUTABLE),
    ("another author", _release("ffn_gelu", 2, "author = 'eve'"), IMMUTABLE),
    ("gone", _of("blueprint_release", "DELETE FROM"), IMMUTABLE),
) + _group(
    "blueprint_document",
    ("other bytes", _changed("blueprint_document", "document = 'x'"), IMMUTABLE),
    ("gone", _of("blueprint_document", "DELETE FROM"), IMMUTABLE),
    ("under another digest", "INSERT INTO morph.blueprint_document VALUES (%(tenant)s, %(unknown)s, 'x')", CHECK),
)

ALIASES = _group(
    "alias",
    ("moved, but told to nobody", _changed("alias", "version = 2", "alias = 'production'"), EVENTLESS),
    ("made", "INSERT INTO morph.alias (tenant, name, alias, version) VALUES (%(tenant)s, 'served', 'b', 2)", EVENTLESS),
    ("gone", _of("alias", "DELETE FROM"), EVENTLESS),
    ("moved though frozen", _changed("alias", "version = 2", "alias = 'frozen'"), GUARD),
    ("frozen, but told to nobody", _changed("alias", "frozen_reason = 'x', frozen_by = 'eve'"), EVENTLESS),
    ("onto a retired release", _changed("alias", "name = 'ffn_gelu', version = 3", "alias = 'production'"), GUARD),
    ("onto nothing", _changed("alias", "version = 99", "alias = 'production'"), MISSING_KEY),
) + _group(
    "alias_history",
    ("another past", _changed("alias_history", "version = 2"), IMMUTABLE),
    ("no past", _of("alias_history", "DELETE FROM"), IMMUTABLE),
    (
        "a past that never was",
        """INSERT INTO morph.alias_history (tenant, name, alias, row_version, version, since_seq, actor)
           VALUES (%(tenant)s, 'served', 'production', 9, 2, 1, 'eve')""",
        EVENTLESS,
    ),
)

CHECKPOINTS = _group(
    "checkpoint",
    ("another step", _changed("checkpoint", "step = 7"), IMMUTABLE),
    (
        "one that nobody saved",
        """INSERT INTO morph.checkpoint (tenant, checkpoint, run, branch, parent, epoch, step, controller_version,
               world_size, manifest_digest, manifest_key, lease_epoch, seq)
           SELECT tenant, %(nobody)s, run, branch, checkpoint, 9, 9, 'v1', 1, manifest_digest, 'm/9', 1, 1
           FROM morph.checkpoint WHERE tenant = %(tenant)s AND parent IS NULL""",
        EVENTLESS,
    ),
    (
        "gone with all that it named",
        "; ".join(
            _of(table, "DELETE FROM")
            for table in ("branch_head", "checkpoint_tag", "pin", "checkpoint_blob", "checkpoint_kernel", "checkpoint")
        ),
        EVENTLESS,
    ),
    ("gone alone", _of("checkpoint", "DELETE FROM"), MISSING_KEY),
    ("without one of its kernels", _of("checkpoint_kernel", "DELETE FROM"), EVENTLESS),
    ("without one of its blobs", _of("checkpoint_blob", "DELETE FROM"), EVENTLESS),
    (
        "with other blobs",
        _changed("checkpoint_blob", "digest = %(bundle)s", "digest = %(blob)s"),
        EVENTLESS,
    ),
    ("a head moved, but told to nobody", _changed("branch_head", "row_version = 9"), EVENTLESS),
    ("a head gone", _of("branch_head", "DELETE FROM"), EVENTLESS),
    ("a tag moved, but told to nobody", _changed("checkpoint_tag", "checkpoint = %(checkpoint)s"), EVENTLESS),
    ("a tag gone", _of("checkpoint_tag", "DELETE FROM"), EVENTLESS),
) + _group(
    "blob",
    ("one that a kernel needs, gone", _of("blob", "DELETE FROM", "digest = %(bundle)s"), MISSING_KEY),
    ("one that a checkpoint needs, gone", _of("blob", "DELETE FROM", "digest = %(blob)s"), MISSING_KEY),
    ("another size, charged to nobody", _changed("blob", "size_bytes = 0"), IMMUTABLE),
)

PINS = _group(
    "pin",
    ("for another reason, told to nobody", _changed("pin", "reason = 'x'"), EVENTLESS),
    ("gone", _of("pin", "DELETE FROM"), EVENTLESS),
    ("retired though pinned", _kernel("validated", "state = 'RETIRED'"), GUARD),
) + _group(
    "quota",
    ("raised, but told to nobody", _changed("quota", "hard_limit = hard_limit * 2"), EVENTLESS),
    ("below nothing", _changed("quota", "used = -1"), CHECK),
)

RECORDS = tuple(
    case
    for table in ("event", "build", "report", "measurement", "attestation")
    for case in _group(
        table,
        ("rewritten", _changed(table, "tenant = tenant"), IMMUTABLE),
        ("gone", _of(table, "DELETE FROM"), IMMUTABLE),
    )
)

OWNERS_STATEMENTS = (*KERNELS, *RELEASES, *ALIASES, *CHECKPOINTS, *PINS, *RECORDS)
