"""A platform that is saved, lost and restored: what comes back, and who has no say any more."""

import json
import secrets
import shutil
import threading

import pytest

from morph_assets.archive.errors import PlaceTakenError
from morph_assets.config import read_config
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.layout import HomeLayout
from morph_assets.platform import Platform
from morph_assets.registry.blueprints import submit_blueprint
from morph_assets.registry.errors import FencedError
from morph_assets.registry.leases import acquire_lease, check_fence, renew_lease
from morph_assets.usecases.find_operator_access import find_operator_access
from morph_assets.usecases.show_status import show_status
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from morph_kernels.artifact.signer_process import SignerError
from morph_kernels.checkpoint import Checkpointer, PostgresLedger
from morph_kernels.checkpoint.ledger import LeaseLostError
from morph_kernels.identity import COUNTER_BITS
from morph_kernels.loader import KernelLoader
from morph_kernels.settings import read_endpoints, read_settings
from morph_kernels.store import open_store
from tests.support.backups import catalog, files_of, home_in, project, restore, save
from tests.support.checkpoints import small_state
from tests.support.compiled_project import open_project, share_headers
from tests.support.platform import TestPlatform
from tests.support.registry import document_of
from tests.support.started_programs import started_programs

pytestmark = pytest.mark.slow

REF = "ffn_gelu@production"


def loader_of(folders, cache) -> KernelLoader:
    """A host's loader of the home; the host remembers what it has seen in `cache`."""
    environment = {"MORPH_HOME": str(folders.home), "MORPH_CACHE_DIR": str(cache), "MORPH_REFRESH_S": "0.001"}
    return KernelLoader(read_settings(environment | {"MORPH_DEADLINE_S": "10"}, start=folders.project))


@pytest.fixture
def place(saved_project):
    """An empty home beside the saved one; it is stopped and removed afterwards."""
    folders = home_in(saved_project[0], f"r{secrets.token_hex(3)}")
    yield folders
    stop_platform(folders)
    shutil.rmtree(folders.project)


def test_after_a_purge_a_restored_platform_builds_nothing_and_loads_from_its_own_store(kernel_cache, compiled):
    with project() as folder:
        folders = home_in(folder, "p")
        start_platform(folders, tenant="default")
        share_headers(folders.project, kernel_cache)
        with open_project(folders.project) as platform:
            TestPlatform(platform, platform.connections.config, compiled).compiled("ffn_gelu")
            platform.evaluate_kernel("ffn_gelu")
            platform.publish_kernel("ffn_gelu")
            before = platform.counts().builds
        save(folders, folder / "saved", with_keys=True)
        stop_platform(folders, purge=True)
        assert not folders.home.exists()

        restored = restore(folders, folder / "saved", with_keys=True)

        assert restored.published == ("ffn_gelu",)
        assert all(service.is_ready for service in show_status(folders.home))
        with open_project(folders.project) as platform, started_programs() as programs:
            assert not platform.compile_kernel("ffn_gelu").built
            assert not platform.evaluate_kernel("ffn_gelu").evaluated
            assert platform.counts().builds == before
            assert platform.verify_audit().holds
        # A new home asks the compiler once for its version; builds and evaluations would run in the sandbox.
        assert not [program for program in programs if "bwrap" in program]
        kernel = loader_of(folders, folder / "host").load(REF)
        assert (kernel.source, kernel.reason) == ("store", None)


def test_everything_belongs_to_whom_it_belonged_and_may_be_used_by_whom_it_might(saved_project, place):
    folder, backup = saved_project
    restore(place, backup.folder)
    first = find_operator_access(home_in(folder, "first")).morph_url
    assert catalog(find_operator_access(place).morph_url) == catalog(first)


def test_a_host_that_saw_later_indexes_accepts_the_restored_ones(saved_project, place):
    folder, backup = saved_project
    first, host = home_in(folder, "first"), folder / "host"
    with open_project(first.project) as platform:
        seen = platform.publish_index("ffn_gelu")
    assert loader_of(first, host).load(REF).source == "store"

    restored = restore(place, backup.folder, with_keys=True)

    newest = max(
        info.key
        for info in open_store(HomeLayout(place.home).objects.as_uri()).list_objects("tenants/default/index/ffn_gelu")
    )
    generation = int(newest.rpartition("/")[2])
    assert generation >> COUNTER_BITS == restored.timeline > seen >> COUNTER_BITS
    again = loader_of(place, host)
    assert again.load(REF).source in {"disk", "store"}
    assert "index_rolled_back" not in json.dumps(again.stats())


def test_nothing_of_a_zombie_commits_after_an_older_backup_was_restored(saved_project, place):
    folder, _ = saved_project
    first = home_in(folder, "first")
    service = MovedService(first)
    zombies = [
        Checkpointer(run=run, store=service.store, ledger=service, lease_ttl_s=600.0) for run in ("before", "after")
    ]
    zombies[0].save(small_state(), epoch=1, step=5).wait()
    backup = save(first, folder / "backups" / "older", with_keys=True)
    zombies[1].save(small_state(), epoch=1, step=5).wait()
    with open_project(first.project) as platform:
        lease = acquire_lease(platform.connections.registry("compiler"), "build/x", ttl_s=600)

    restore(place, backup.folder, with_keys=True)
    service.move(place)

    for zombie in zombies:
        with pytest.raises(LeaseLostError):
            zombie.save(small_state(1), epoch=2, step=10).wait()
    with open_project(place.project) as platform:
        registry = platform.connections.registry("compiler")
        with pytest.raises(FencedError), registry.transaction():
            check_fence(registry, lease)
        with pytest.raises(FencedError):
            renew_lease(registry, lease, ttl_s=600)
        assert [(run.run, run.checkpoints) for run in platform.list_runs()] == [("before", 1)]
    # The next one is not kept waiting by a lease that nobody can use.
    heir = Checkpointer(run="before", store=service.store, ledger=service, lease_ttl_s=600.0)
    assert heir.restore(small_state()).epoch == 1
    heir.save(small_state(1), epoch=2, step=10).wait()


def test_what_a_store_tells_of_the_lost_hours_breaks_no_log(saved_project, place):
    folder, _ = saved_project
    first = home_in(folder, "first")
    backup = save(first, folder / "backups" / "hours", with_keys=True)
    with open_project(first.project) as platform:
        platform.promote("ffn_gelu@production", "lost")
        lost = platform.anchor_audit()
    restore(place, backup.folder, with_keys=True)
    # The store outlived the registry: the log of the lost hours and the anchor over it are still there.
    survived, objects = (
        open_store(HomeLayout(first.home).objects.as_uri()),
        open_store(HomeLayout(place.home).objects.as_uri()),
    )
    for info in survived.list_objects(""):
        objects.put_if_absent(info.key, survived.get(info.key, max_bytes=2**30))

    with open_project(place.project) as platform:
        platform.promote("ffn_gelu@production", "found")
        verified = platform.verify_audit()
        assert verified.holds
        assert platform.anchor_audit().number > lost.number
        assert platform.verify_audit().holds
        assert platform.check_registry().differences == ()


def test_a_lease_that_stood_in_the_backup_is_over_too(saved_project, place):
    folder, _ = saved_project
    first = home_in(folder, "first")
    with open_project(first.project) as platform:
        held = acquire_lease(platform.connections.registry("compiler"), "build/held", ttl_s=3600)
    backup = save(first, folder / "backups" / "held")

    restored = restore(place, backup.folder)

    with open_project(place.project) as platform:
        registry = platform.connections.registry("compiler")
        with pytest.raises(FencedError), registry.transaction():
            check_fence(registry, held)
        assert acquire_lease(registry, "build/held", ttl_s=60).epoch == (restored.timeline << COUNTER_BITS) + 1


def test_without_keys_kernels_are_loaded_and_nothing_is_published(saved_project, place):
    _, backup = saved_project
    restored = restore(place, backup.folder)
    assert restored.published == ()
    assert not (place.home / "trust" / "keys").exists()
    assert loader_of(place, place.project / "host").load(REF).source == "store"
    start_platform(place, tenant="default")  # makes no keys that nobody trusts
    with open_project(place.project) as platform, pytest.raises(SignerError, match=r"publisher\.pem"):
        platform.publish_index("ffn_gelu")


def test_every_tenant_comes_back_with_logins_of_its_own():
    with project() as folder:
        first, second = home_in(folder, "first"), home_in(folder, "second")
        for tenant in ("lab", "default"):
            start_platform(first, tenant=tenant)
        saved = save(first, folder / "saved", with_keys=True)
        assert saved.manifest.heads.keys() == {"default", "lab"}
        stop_platform(first)
        restore(second, saved.folder, with_keys=True)
        for tenant in ("default", "lab"):
            start_platform(second, tenant=tenant)  # whose logins the endpoints name
            environment = {"MORPH_HOME": str(second.home), "MORPH_TENANT": tenant}
            with Platform.connect(read_config(environment, start=second.project)) as platform:
                assert platform.verify_audit().holds
                made, *_, last = platform.iter_audit()
                assert (made["facts"]["tenant"], last["type"]) == (tenant, "timeline.started")


def test_nothing_is_written_over(saved_project):
    folder, backup = saved_project
    first = home_in(folder, "first")
    before = files_of(backup.folder)
    with pytest.raises(PlaceTakenError, match="not there yet"):
        save(first, backup.folder)
    with pytest.raises(PlaceTakenError, match="new MORPH_HOME"):
        restore(first, backup.folder)
    assert files_of(backup.folder) == before
    assert all(service.is_ready for service in show_status(first.home))
    assert [path for path in backup.folder.parent.iterdir() if "draft" in path.name] == []


def test_servers_that_do_not_run_cannot_be_saved(tmp_path):
    folders = home_in(tmp_path, "nowhere")
    with pytest.raises(ServicesError, match="morph up"):
        save(folders, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_backup_of_a_working_platform_is_of_one_moment(saved_project, place):
    folder, _ = saved_project
    first, stop, written = home_in(folder, "first"), threading.Event(), []

    def work():
        with open_project(first.project) as platform:
            registry, count = platform.connections.registry("platform"), 0
            while not stop.is_set():
                submit_blueprint(registry, f"busy{count}", *document_of(f"busy{count}"))
                count += 1
            written.append(count)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        backup = save(first, folder / "backups" / "busy")
    finally:
        stop.set()
        worker.join()
    # That the heads of the manifest are those of the dump is checked by the restore itself.
    restore(place, backup.folder)
    with open_project(place.project) as platform:
        assert platform.verify_audit().holds
        assert 0 < len(platform.list_blueprints()) - 1 < written[0]


def test_each_restore_of_a_backup_has_a_timeline_of_its_own(saved_project, place):
    folder, backup = saved_project
    first = restore(place, backup.folder).timeline
    later = save(place, folder / "backups" / "later")
    assert later.manifest.timeline == first
    stop_platform(place, purge=True)
    second = restore(place, backup.folder).timeline
    stop_platform(place, purge=True)
    third = restore(place, later.folder).timeline
    assert first < second < third


class MovedService:
    """The checkpoint ledger and store under one name, behind which a restored platform takes the place of the old."""

    def __init__(self, folders):
        self.move(folders)

    def move(self, folders):
        """Let the name lead to another home."""
        endpoints = read_endpoints({"MORPH_HOME": str(folders.home)})
        self._ledger = PostgresLedger(endpoints.database_url("trainer"))
        self._store = open_store(endpoints.store_url)

    @property
    def store(self):
        return self._store

    def __getattr__(self, name):
        return getattr(self._ledger, name)
