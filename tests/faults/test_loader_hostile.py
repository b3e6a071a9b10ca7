"""Damaged and hostile kernels in every tier: never executed, named, and the module works all the same."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from morph_kernels.artifact.bundle import KernelBundle, encode_bundle
from morph_kernels.artifact.host import current_runtime
from morph_kernels.reasons import Reason
from tests.support.hostile_host import NAME, REF, TIERS, assert_works, join_background
from tests.support.traps import remade

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kernel(compiled):
    return compiled(NAME)


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def with_library(bundle, role, data):
    return replace(bundle, libraries={**bundle.libraries, role: data})


CONTENT = {
    "a flipped bit in the manifest": lambda b, _t, _o: replace(b, manifest=flip(b.manifest, 100)),
    "a flipped bit in the forward": lambda b, _t, _o: with_library(b, "forward", flip(b.libraries["forward"], 100_000)),
    "a flipped bit in the backward": lambda b, _t, _o: with_library(b, "backward", flip(b.libraries["backward"], 5)),
    "a truncated library": lambda b, _t, _o: with_library(b, "forward", b.libraries["forward"][:-4096]),
    "an empty library": lambda b, _t, _o: with_library(b, "backward", b""),
    "no backward": lambda b, _t, _o: replace(b, libraries={"forward": b.libraries["forward"]}),
    "a substituted library": lambda b, t, _o: with_library(b, "forward", t.library),
    "a substituted library of the same size": lambda b, t, _o: with_library(
        b, "forward", t.library.ljust(len(b.libraries["forward"]), b"\0")
    ),
    "another valid kernel": lambda _b, _t, o: o,
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("damage", CONTENT)
def test_bytes_that_are_not_the_kernel_never_run(host, kernel, compiled, tier, damage):
    host.publisher.publish(kernel)
    content = CONTENT[damage](kernel.bundle, host.trap, compiled("squeeze_excite").bundle)
    host.plant_bundle(tier, kernel.manifest, content)
    loader = host.publisher.loader()
    module = loader.load(REF)
    assert (module.source, module.reason) == ("eager", Reason.DIGEST_MISMATCH)
    assert loader.stats()["refused"][f"{tier}:digest_mismatch"] >= 1
    assert_works(module)
    assert not host.trap.was_sprung
    join_background()
    assert host.disk().digests() == []
    assert host.valkey.client().keys("*bundle*") == []


ENCODED = {
    "a flipped bit in the frame": (lambda d: flip(d, len(d) // 2), {Reason.MALFORMED, Reason.DIGEST_MISMATCH}),
    "a torn frame": (lambda d: d[: len(d) // 2], {Reason.MALFORMED}),
    "no frame": (lambda _d: b"\x7fELF" * 100, {Reason.MALFORMED}),
    "nothing": (lambda _d: b"", {Reason.MALFORMED, Reason.NOT_FOUND}),
    "bytes after the frame": (lambda d: d + b"x", {Reason.MALFORMED}),
    "a decompression bomb": (lambda _d: zstandard.compress(bytes(64 * 1024**2)), {Reason.TOO_LARGE}),
    "more bytes than the index allows": (lambda d: d + bytes(3 * 1024**2), {Reason.NOT_FOUND}),
}


@pytest.mark.parametrize("tier", ["redis", "store"])
@pytest.mark.parametrize("damage", ENCODED)
def test_a_damaged_encoded_bundle_is_refused_before_it_costs_anything(host, kernel, tier, damage):
    host.publisher.publish(kernel)
    change, reasons = ENCODED[damage]
    host.plant_bundle(tier, kernel.manifest, change(encode_bundle(kernel.bundle)))
    loader = host.publisher.loader()
    for attempt in range(4):
        module = loader.load(REF)
        assert module.source == "eager"
        # Redis forgets it at once; the store keeps what was published.
        assert module.reason in (reasons if attempt == 0 or tier == "store" else reasons | {Reason.NOT_FOUND})
        # What one object is like says nothing about the server.
        assert not loader.stats()["tiers"][tier]["breaker_open"]
        join_background()
    assert_works(module)


def test_a_damaged_entry_on_disk_is_set_aside_and_fetched_again(host, kernel):
    host.publisher.publish(kernel)
    assert host.publisher.loader().load(REF).source == "store"
    (library,) = (host.folder().path / "kernels" / kernel.manifest.digest).glob("forward-*.so")
    damaged = library.with_name("damaged")
    damaged.write_bytes(flip(library.read_bytes(), 1234))
    # Not written in place: this process runs from those pages.
    damaged.replace(library)
    join_background()
    loader = host.publisher.loader()
    module = loader.load(REF)
    assert module.source == "redis", "the first load filled it behind the caller's back"
    assert loader.stats()["refused"] == {"disk:digest_mismatch": 1}
    assert_works(module)
    (aside,) = (host.folder().path / "quarantine").iterdir()
    assert aside.name.startswith(f"{kernel.manifest.digest}.digest_mismatch.")
    assert host.publisher.loader().load(REF).source == "disk"


@pytest.mark.parametrize("torn", ["*", "manifest.json", "backward-*"])
def test_an_entry_that_lost_bytes_with_the_power_is_fetched_again(host, kernel, torn):
    host.publisher.publish(kernel)
    host.publisher.loader().load(REF)
    join_background()
    for path in (host.folder().path / "kernels" / kernel.manifest.digest).glob(torn):
        # Entries wait for no disk. Not written in place: this process runs from those pages.
        path.unlink()
        path.touch(mode=0o600)
    module = host.publisher.loader().load(REF)
    assert module.source == "redis"
    assert_works(module)
    assert host.publisher.loader().load(REF).source == "disk"


def test_a_damaged_bundle_in_redis_is_replaced_by_the_stores(host, kernel):
    host.publisher.publish(kernel)
    key = f"morph:default:bundle:{kernel.manifest.digest}"
    host.valkey.client().set(key, flip(encode_bundle(kernel.bundle), 5000))
    assert host.publisher.loader("first").load(REF).source == "store"
    join_background()
    assert host.publisher.loader("second").load(REF).source == "redis"


def test_a_key_of_another_type_in_redis_is_a_miss_and_is_replaced(host, kernel):
    host.publisher.publish(kernel)
    host.valkey.client().lpush(f"morph:default:bundle:{kernel.manifest.digest}", "a list")
    host.valkey.client().lpush(f"morph:default:index:{NAME}", "a list")
    loader = host.publisher.loader("first")
    assert loader.load(REF).source == "store"
    assert not loader.stats()["tiers"]["redis"]["breaker_open"]
    join_background()
    assert host.publisher.loader("second").load(REF).source == "redis"


@pytest.mark.parametrize("obstacle", ["a link", "a file", "a file of another user", "a folder that others can write"])
def test_an_entry_that_another_user_could_change_is_set_aside(host, kernel, obstacle, tmp_path):
    host.publisher.publish(kernel)
    host.publisher.loader().load(REF)
    entry = host.folder().path / "kernels" / kernel.manifest.digest
    if obstacle == "a folder that others can write":
        entry.chmod(0o777)
    elif obstacle == "a file of another user":
        manifest = entry / "manifest.json"
        manifest.chmod(0o666)
    else:
        entry.rename(tmp_path / "elsewhere")
        if obstacle == "a link":
            entry.symlink_to(tmp_path / "elsewhere")
        else:
            entry.write_text("not a folder")
    join_background()
    loader = host.publisher.loader()
    assert loader.load(REF).source == "redis"
    assert loader.stats()["refused"] == {"disk:not_private": 1}
    assert host.publisher.loader().load(REF).source == "disk"


TARGETS = {
    "more instructions than this host has": ({"isa": "x86-64-v4"}, Reason.WRONG_ISA),
    "a newer C library": ({"glibc": "2.99"}, Reason.WRONG_LIBC),
    "a newer C++ library": ({"libstdcxx": "3.9.99"}, Reason.WRONG_LIBC),
    "another device": ({"device": "cuda", "isa": "sm_90"}, Reason.WRONG_DEVICE),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("honest", [True, False], ids=["index says so", "index lies"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_kernel_for_another_host_never_runs(host, kernel, tier, honest, target):
    changes, reason = TARGETS[target]
    trapped = host.trap.kernel(kernel, **changes)
    variant = host.publisher.variant(trapped)
    host.publisher.publish_index(kernel, [variant if honest else replace(variant, target=kernel.manifest.target)])
    host.plant_bundle(tier, trapped.manifest, trapped.bundle)
    module = host.publisher.loader(runtime=replace(current_runtime(), isa="x86-64-v3")).load(REF)
    assert (module.source, module.reason) == ("eager", reason)
    assert_works(module)
    assert not host.trap.was_sprung


@pytest.mark.parametrize("tier", TIERS)
def test_a_kernel_of_another_blueprint_never_stands_for_this_one(host, kernel, compiled, tier):
    other = compiled("squeeze_excite")
    variant = replace(host.publisher.variant(other), blueprint_digest=kernel.blueprint.digest)
    host.publisher.publish_index(kernel, [variant])
    host.plant_bundle(tier, other.manifest, other.bundle)
    loader = host.publisher.loader()
    module = loader.load(REF)
    assert (module.source, module.reason) == ("eager", Reason.ATTESTATION_MISMATCH)
    assert_works(module)
    # Nor once it runs in this process as what it is.
    host.publisher.publish(other)
    assert loader.load("squeeze_excite").source != "eager"
    assert loader.load(REF).reason is Reason.ATTESTATION_MISMATCH


def test_a_kernel_without_a_backward_is_not_loaded(host, kernel):
    manifest = remade(replace(kernel.manifest, libraries=kernel.manifest.libraries[:1]))
    bundle = KernelBundle(manifest.to_bytes(), {"forward": kernel.bundle.libraries["forward"]})
    host.publisher.publish(replace(kernel, manifest=manifest, bundle=bundle))
    module = host.publisher.loader().load(REF)
    assert (module.source, module.reason) == ("eager", Reason.LOAD_FAILED)
    assert_works(module)


LOAD = """
import json
from morph_kernels.loader import KernelLoader
loader = KernelLoader()
module = loader.load("ffn_gelu@production")
print(json.dumps([module.source, module.reason]))
"""


def test_the_trap_is_sprung_by_a_loader_that_is_given_every_reason_to_trust_it(host, kernel):
    host.publisher.publish(host.trap.kernel(kernel))
    environment = {
        "PYTHONPATH": str(ROOT / "kernels"),
        "MORPH_STORE_URL": host.publisher.store_url,
        "MORPH_TRUST_FILE": str(host.publisher.folder / "trust" / "trust.json"),
        "MORPH_CACHE_DIR": str(host.publisher.folder / "cache"),
        "MORPH_DEADLINE_S": "10",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == ["eager", "load_failed"]
    assert host.trap.was_sprung, "so every other test of this module would show an execution"
    host.trap.marker.unlink()
