"""Submitting and compiling: one build key, one build, whatever happens in between."""

import json
import subprocess
import sys
import threading
from uuid import uuid4

import pytest

from morph_assets.connections import PlatformDownError
from morph_assets.platform import Platform
from morph_assets.registry.blueprints import list_releases
from morph_assets.registry.builds import count_builds, list_builds
from morph_assets.registry.errors import FencedError, NotRegisteredError
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.kernels import list_attestations
from morph_assets.registry.leases import Lease
from morph_assets.usecases.compile_kernel import BuildBusyError, compile_kernel
from morph_assets.usecases.plan_compilation import plan_compilation
from morph_assets.usecases.register_build import register_build
from morph_kernels.artifact.bundle import decode_bundle
from morph_kernels.artifact.verify import VouchedBuild, verify_build
from morph_kernels.blueprint import BlueprintError, library_paths
from morph_kernels.compile.builder import BuiltKernel
from morph_kernels.store import StoreUnavailableError
from morph_kernels.store.keys import bundle_key
from tests.support.command_line import clean_environment, morph_command
from tests.support.started_programs import started_programs

pytestmark = pytest.mark.slow

SMALL = """
name: small
symbols:
  batch: [1, 64]
inputs:
  - {name: x, dtype: float32, shape: [batch, 8]}
outputs:
  - {name: y, dtype: float32, shape: [batch, 8], value: act}
nodes:
  - {id: up, op: linear, inputs: [x], attributes: {in_features: 8, out_features: 8}}
  - {id: act, op: gelu, inputs: [up]}
"""


def test_importing_the_package_is_light_and_brings_no_platform(tmp_path):
    program = (
        "import sys, morph_assets\n"
        "assert not {'psycopg', 'torch', 'morph_assets.platform'} & set(sys.modules)\n"
        "from morph_assets import Platform\n"
        "assert 'torch' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=clean_environment())


def test_where_nothing_is_up_the_error_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MORPH_HOME", raising=False)

    with pytest.raises(PlatformDownError, match="run `morph up`"):
        Platform.connect()


def test_a_blueprint_submitted_twice_is_one_release(made_platform):
    platform = made_platform.platform

    first = platform.submit_blueprint(SMALL, tags=("tiny",), author="ada")
    again = platform.submit_blueprint(SMALL)

    assert (first.created, again.created) == (True, False)
    assert first.version == again.version
    shown = platform.show_blueprint("small")
    assert shown.blueprint.digest == first.blueprint_digest
    assert shown.releases[0].tags == ["tiny"]
    assert [release.name for release in platform.list_blueprints()] == ["small"]


def test_a_refused_blueprint_leaves_nothing(made_platform):
    platform = made_platform.platform

    with pytest.raises(BlueprintError):
        platform.submit_blueprint(SMALL.replace("name: small", "name: a|b"))
    with pytest.raises(BlueprintError):
        platform.submit_blueprint(SMALL.replace("op: gelu", "op: explode"))

    assert list_releases(platform.connections.registry("platform")) == []


def test_two_processes_that_compile_the_same_name_at_once_compile_it_once(made_platform, tmp_path):
    platform, environment = made_platform.platform, clean_environment(**made_platform.environment())
    assert all(platform.submit_blueprint(path).created for path in library_paths())
    platform.submit_blueprint(SMALL)
    command = morph_command("kernel", "compile", "small", "--json")
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) for _ in range(2)
    ]
    told = [json.loads(process.communicate()[0]) for process in both]

    built = platform.compile_kernel("small")

    assert sorted(found["built"] for found in told) == [False, True]
    assert {found["digest"] for found in told} == {built.digest}
    assert not built.built
    assert built.cpu_s > 0
    registry = platform.connections.registry("platform")
    assert count_builds(registry) == {"built": 1, "redundant": 0, "failed": 0}
    bundle = decode_bundle(platform.connections.store.get(platform.find_kernel("small").bundle_key, max_bytes=10**8))
    envelopes = [record.envelope for record in list_attestations(registry, built.digest)]
    record = platform.find_kernel("small")
    verdict = verify_build(
        bundle,
        envelopes,
        trust=platform.connections.trust(),
        tenant=platform.connections.tenant,
        expected_digest=built.digest,
        now=record.created_at,
    )
    assert isinstance(verdict, VouchedBuild)


def test_a_known_build_starts_no_process_at_all(made_platform):
    made_platform.compiled()
    made_platform.platform.compile_kernel("ffn_gelu")  # the toolchain is known from here on

    with made_platform.other() as platform, started_programs() as started:
        assert not platform.compile_kernel("ffn_gelu").built

    assert started == []


def test_bytes_without_a_row_are_taken_over_by_the_next_build(made_platform):
    kernel = made_platform.build("ffn_gelu")
    made_platform.platform.submit_blueprint(kernel.blueprint)
    connections = made_platform.platform.connections
    built = BuiltKernel(kernel.manifest, kernel.bundle, 1.0, 1.0, "")
    zombie = Lease(f"build/{kernel.manifest.build_key}", holder=uuid4(), epoch=1)

    with pytest.raises(FencedError):
        register_build(connections, built, zombie)
    key = bundle_key(connections.tenant, kernel.manifest.digest)
    assert connections.store.size(key) > 0
    assert made_platform.platform.list_kernels() == []

    record = made_platform.register(kernel)
    assert record.state == "COMPILED"
    assert count_builds(connections.registry("platform"))["built"] == 1


def test_a_damaged_orphan_is_replaced(made_platform):
    kernel = made_platform.build("ffn_gelu")
    made_platform.platform.submit_blueprint(kernel.blueprint)
    store = made_platform.platform.connections.store
    key = bundle_key(made_platform.platform.connections.tenant, kernel.manifest.digest)
    store.put_if_absent(key, b"half of something")

    record = made_platform.register(kernel)

    assert decode_bundle(store.get(record.bundle_key, max_bytes=10**8)) == kernel.bundle


def test_a_store_that_is_down_leaves_no_row(made_platform):
    kernel = made_platform.build("ffn_gelu")
    made_platform.platform.submit_blueprint(kernel.blueprint)
    dead = "s3://morph/x?endpoint=http://127.0.0.1:9&allow_http=true&access_key_id=a&secret_access_key=b"

    with made_platform.other(store_url=dead) as platform, pytest.raises(StoreUnavailableError):
        made_platform.register(kernel, platform)

    assert made_platform.platform.list_kernels() == []


def test_a_second_builder_waits_for_the_first_and_takes_its_kernel(made_platform):
    kernel = made_platform.build("ffn_gelu")
    platform = made_platform.platform
    platform.submit_blueprint(kernel.blueprint)
    plan = plan_compilation(platform.connections, kernel.blueprint)
    found = []
    with made_platform.other() as other:
        registry = platform.connections.registry("compiler")
        with hold_lease(registry, f"build/{plan.key}") as lease:
            waiting = threading.Thread(target=lambda: found.append(other.compile_kernel("ffn_gelu")))
            waiting.start()
            register_build(platform.connections, BuiltKernel(kernel.manifest, kernel.bundle, 1.0, 1.0, ""), lease)
        waiting.join()

    assert [(result.digest, result.built) for result in found] == [(kernel.manifest.digest, False)]
    assert len(list_builds(platform.connections.registry("platform"))) == 1


def test_a_builder_that_never_finishes_is_an_error_that_helps_to_retry(made_platform):
    kernel = made_platform.build("ffn_gelu")
    platform = made_platform.platform
    platform.submit_blueprint(kernel.blueprint)
    plan = plan_compilation(platform.connections, kernel.blueprint)

    with (
        made_platform.other() as other,
        hold_lease(other.connections.registry("compiler"), f"build/{plan.key}"),
        pytest.raises(BuildBusyError) as raised,
    ):
        compile_kernel(platform.connections, "ffn_gelu", wait_s=0.0)

    assert raised.value.retryable


def test_an_unknown_name_is_an_error(made_platform):
    with pytest.raises(NotRegisteredError, match="submit the blueprint first"):
        made_platform.platform.compile_kernel("nobody")
