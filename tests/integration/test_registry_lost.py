"""The database is gone, the object store is not: what was acknowledged is there again, and nothing else."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from morph_assets.devservices.layout import HomeLayout
from morph_assets.platform import Platform
from morph_assets.registry.audit.assembly import ArchiveBrokenError
from morph_assets.registry.blueprints import list_releases, submit_blueprint
from morph_assets.registry.checkpoints import list_checkpoints
from morph_assets.registry.rebuild import NotEmptyError
from morph_assets.usecases.find_operator_access import find_operator_access
from morph_assets.usecases.read_body import BodyDamagedError
from morph_assets.usecases.rebuild_registry import NothingArchivedError, RebuiltRegistry, rebuild_registry
from morph_assets.usecases.relay_indexes import relay_indexes
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from morph_kernels.artifact.envelope import parse_envelope
from morph_kernels.artifact.signing import load_signer
from morph_kernels.artifact.trust import Role, create_trust, key_path
from morph_kernels.blueprint import library
from morph_kernels.canonical import canonical_bytes
from morph_kernels.checkpoint import Checkpointer, PostgresLedger
from morph_kernels.checkpoint.ledger import LeaseLostError
from morph_kernels.checkpoint.record import MAX_RECORD_BYTES
from morph_kernels.loader import KernelLoader
from morph_kernels.reasons import Reason
from morph_kernels.settings import read_endpoints, read_settings
from morph_kernels.store import open_store
from morph_kernels.store.keys import parse_commit_record_key
from tests.support.backups import home_in, project, unseen_progress
from tests.support.checkpoints import fingerprint, small_state, train_steps
from tests.support.command_line import run_morph
from tests.support.compiled_project import open_project, share_headers
from tests.support.platform import TestPlatform
from tests.support.registry import document_of

REF = "ffn_gelu@production"
ONE, TWO = library()[:2]


@pytest.fixture
def folders(kernel_cache) -> Iterator[Path]:
    """A running platform of the test's own."""
    with project() as folder:
        found = home_in(folder, "p")
        start_platform(found, tenant="default")
        share_headers(found.project, kernel_cache)
        yield found


def lose_the_database(folders):
    stop_platform(folders)
    shutil.rmtree(HomeLayout(folders.home).postgres_data)
    start_platform(folders, tenant="default")


def rebuild(folders, platform: Platform) -> RebuiltRegistry:
    done = rebuild_registry(platform.connections, find_operator_access(folders), unseen_progress)
    relay_indexes(platform.connections)
    return done


def checkpointer(folders, *, key: Path | None = None, **options) -> Checkpointer:
    endpoints = read_endpoints({"MORPH_HOME": str(folders.home)}, start=folders.project)
    return Checkpointer(
        run="digits",
        store=open_store(endpoints.store_url),
        ledger=PostgresLedger(endpoints.database_url("trainer")),
        signer=load_signer(key or endpoints.trainer_key),
        **options,
    )


def record_in(store: Path, sequence: int) -> Path:
    """Where the commit record of so many events lies."""
    (found,) = store.rglob(f"commits/*-{sequence:020d}")
    return found


@pytest.mark.slow
def test_exactly_what_was_acknowledged_is_there_again(folders, compiled):
    state = small_state()
    train_steps(state, 2)
    zombie = checkpointer(folders, lease_ttl_s=600.0)
    with open_project(folders.project) as platform:
        _, kernel = TestPlatform(platform, platform.connections.config, compiled).published("ffn_gelu")
        first = zombie.save(state, epoch=1, step=2).wait()
        platform.promote("ffn_gelu@1", "staging")  # its acknowledgement archives the checkpoint too
        train_steps(state, 2)
        second = zombie.save(state, epoch=2, step=4).wait()
        submit_blueprint(platform.connections.registry("platform"), "not_acknowledged", *document_of("x"), author="ada")
        events = platform.verify_audit().events

    lose_the_database(folders)

    with open_project(folders.project) as platform:
        done = rebuild(folders, platform)
        assert done.recovered == (str(second.checkpoint),)
        assert done.events < events + 3
        assert platform.check_registry().differences == ()
        assert platform.verify_audit().holds
        assert platform.find_kernel(REF).digest == platform.find_kernel("ffn_gelu@staging").digest == kernel.digest
        assert not platform.compile_kernel("ffn_gelu").built
        registry = platform.connections.registry("platform")
        assert {release.name for release in list_releases(registry)} == {"ffn_gelu"}
        found = list_checkpoints(registry, run="digits")
        assert {checkpoint.checkpoint for checkpoint in found} == {first.checkpoint, second.checkpoint}
        settings = read_settings({"MORPH_HOME": str(folders.home), "MORPH_DEADLINE_S": "10"}, start=folders.project)
        assert KernelLoader(settings).load(REF).reason is None
    with pytest.raises(LeaseLostError):
        zombie.save(state, epoch=3, step=6).wait()
    expected, again = fingerprint(state), small_state(seed=5)
    follower = checkpointer(folders)
    assert follower.restore(again).checkpoint == second.checkpoint
    assert fingerprint(again) == expected
    assert follower.save(again, epoch=3, step=6).wait().new_bytes == 0
    follower.close()


def test_what_no_trusted_trainer_signed_is_not_committed_again_and_is_named(folders, tmp_path):
    """Whoever may write to the bucket forges, copies and changes records behind the archived log."""
    create_trust(tmp_path)
    with open_project(folders.project) as platform:
        platform.submit_blueprint(ONE)
    trainer = checkpointer(folders)
    real = trainer.save(small_state(), epoch=1, step=2).wait()
    trainer.close()
    record = record_in(HomeLayout(folders.home).objects, real.sequence)
    told = parse_envelope(record.read_bytes(), what="record", max_bytes=MAX_RECORD_BYTES)
    stranger = load_signer(key_path(tmp_path, Role.TRAINER))
    auditor = load_signer(key_path(HomeLayout(folders.home).trust_dir, Role.AUDITOR))
    auditor.role = Role.TRAINER  # whoever holds another role's key signs with it all the same

    def forged(later: int) -> dict[str, object]:
        return json.loads(told.payload) | {"checkpoint": str(uuid4()), "sequence": real.sequence + later}

    planted = {
        1: (Reason.UNTRUSTED_KEY, stranger.sign(forged(1))),
        2: (Reason.WRONG_ROLE, auditor.sign(forged(2))),
        3: ("it belongs to tenants/", told.to_bytes()),
        4: (Reason.BAD_SIGNATURE, replace(told, payload=canonical_bytes(forged(4))).to_bytes()),
        5: (Reason.UNSIGNED, replace(told, payload=canonical_bytes(forged(5)), keyid=None).to_bytes()),
        6: (Reason.MALFORMED, bytes(100)),
        7: ("at most 65536 allowed", bytes(MAX_RECORD_BYTES + 1)),
    }
    for later, (_, data) in planted.items():
        record.with_name(f"{record.name[:-20]}{real.sequence + later:020d}").write_bytes(data)
    lose_the_database(folders)
    with open_project(folders.project) as platform:
        done = rebuild(folders, platform)
    assert done.recovered == (str(real.checkpoint),)
    refused = {parse_commit_record_key(found.key)[1] - real.sequence: found.why for found in done.refused}
    assert refused.keys() == planted.keys()
    assert [why for later, (why, _) in planted.items() if why not in refused[later]] == []


def test_an_archive_that_is_not_whole_changes_nothing(folders):
    with open_project(folders.project) as platform:
        platform.submit_blueprint(ONE)
        platform.submit_blueprint(TWO)
    store = HomeLayout(folders.home).objects
    (first, *_) = sorted(store.rglob("*.jsonl.zst"))
    (body, *_) = sorted((store / "tenants/default/blobs").rglob("?" * 64))
    lose_the_database(folders)
    with open_project(folders.project) as platform:
        for path, expected in ((first, ArchiveBrokenError), (body, BodyDamagedError)):
            away = path.rename(path.with_suffix(".away"))
            with pytest.raises(expected):
                rebuild(folders, platform)
            away.rename(path)
        assert platform.list_blueprints() == []
        assert rebuild(folders, platform).recovered == ()
        assert {release.name for release in platform.list_blueprints()} == {ONE.name, TWO.name}
        with pytest.raises(NotEmptyError):
            rebuild(folders, platform)


def test_an_archive_that_ends_before_the_newest_anchor_is_refused(folders):
    with open_project(folders.project) as platform:
        platform.submit_blueprint(ONE)
        platform.submit_blueprint(TWO)
        platform.anchor_audit()
    *_, last = sorted((HomeLayout(folders.home).objects / "tenants/default/log").rglob("*.jsonl.zst"))
    lose_the_database(folders)
    last.unlink()
    with open_project(folders.project) as platform, pytest.raises(ArchiveBrokenError, match="anchor 1 covers"):
        rebuild(folders, platform)


def test_the_command_rebuilds_and_says_what_is_there(folders):
    with open_project(folders.project) as platform:
        with pytest.raises(NothingArchivedError):
            rebuild(folders, platform)
        platform.submit_blueprint(ONE)
    lose_the_database(folders)
    environment = {"MORPH_HOME": str(folders.home)}

    ran = run_morph("registry", "rebuild", cwd=folders.project, **environment)
    checked = run_morph("registry", "check", cwd=folders.project, **environment)

    assert "timeline 2 begins" in ran.stdout, ran.stderr
    assert "the tables hold exactly them" in checked.stdout, checked.stderr
