"""Fresh processes: what they import for a hit in each tier, and that a host fetches a kernel once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from morph_kernels.loader import RunPlan
from tests.support.faulty_proxy import faulty_proxy
from tests.support.hostile_host import join_background
from tests.support.publishing import Publisher

NAME = "ffn_gelu"
ROOT = Path(__file__).parents[2]
LOAD = """
import json, sys
from pathlib import Path
from morph_kernels.loader import KernelLoader, RunPlan
print("ready", flush=True)
plan = sys.stdin.readline().strip()
loader = KernelLoader(plan=RunPlan.from_bytes(Path(plan).read_bytes()) if plan else None)
sources = [loader.load("ffn_gelu@production").source for _ in range(2)]
heavy = ("redis", "obstore", "psycopg", "torch._dynamo", "torch._inductor", "dagster", "securesystemslib", "boto3")
print(json.dumps({"sources": sources, "imported": [name for name in heavy if name in sys.modules]}))
"""


def start(publisher, host, **urls):
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "kernels"),
        "MORPH_STORE_URL": publisher.store_url,
        "MORPH_TRUST_FILE": str(publisher.folder / "trust" / "trust.json"),
        "MORPH_CACHE_DIR": str(publisher.folder / host / "cache"),
        "MORPH_DEADLINE_S": "20",
    } | urls
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process, plan=""):
    process.stdin.write(f"{plan}\n")
    process.stdin.flush()


def finish(process):
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(out)


@pytest.fixture
def kernel(compiled):
    return compiled(NAME)


def test_each_tier_imports_what_it_needs_and_a_disk_hit_nothing(host, kernel):
    host.publisher.publish(kernel)
    redis_url = {"MORPH_REDIS_URL": host.valkey.url}
    found = {}
    for source, place, urls in [
        ("store", "first", {}),
        ("disk", "first", redis_url),
        ("redis", "second", redis_url),
    ]:
        if source == "redis":
            host.publisher.loader("filler").load(NAME)
            join_background()
            envelope = host.publisher.publish_index(kernel, [host.publisher.variant(kernel)])
            host.valkey.client().set(f"morph:default:index:{NAME}", envelope)
        process = start(host.publisher, place, **urls)
        go(process)
        found[source] = finish(process)
    assert found == {
        "store": {"sources": ["store", "process"], "imported": ["obstore"]},
        "disk": {"sources": ["disk", "process"], "imported": []},
        "redis": {"sources": ["redis", "process"], "imported": ["redis"]},
    }


def test_a_run_plan_needs_no_server_where_the_disk_has_the_kernels(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader("planned")
    plan = loader.plan([NAME])
    loader.prefetch(plan).join()
    path = host.publisher.folder / "plan.json"
    path.write_bytes(plan.to_bytes())
    assert RunPlan.from_bytes(plan.to_bytes()) == plan
    (host.publisher.folder / "planned" / "cache" / "default" / "index" / f"{host.publisher.root}.{NAME}.index").unlink()
    process = start(host.publisher, "planned", MORPH_STORE_URL="file:///nowhere", MORPH_REDIS_URL="redis://127.0.0.1:1")
    go(process, path)
    assert finish(process) == {"sources": ["disk", "process"], "imported": []}


@pytest.mark.slow
def test_eight_processes_of_a_host_fetch_a_kernel_once(host, kernel, seaweedfs):
    url = seaweedfs.url("morph", f"once-{host.publisher.folder.name}")
    publisher = Publisher(host.publisher.folder, store_url=url)
    publisher.publish(kernel)
    port = urlsplit(seaweedfs.endpoint).port
    size = publisher.store.size(f"tenants/default/bundles/{kernel.manifest.digest[:2]}/{kernel.manifest.digest}")
    with faulty_proxy(port) as proxy:
        through = url.replace(f"%3A{port}", f"%3A{proxy.port}")
        processes = [start(publisher, "shared", MORPH_STORE_URL=through) for _ in range(8)]
        for process in processes:
            go(process)
        found = [finish(process) for process in processes]
        first = [facts["sources"][0] for facts in found]
        assert sorted(first) == ["disk"] * 7 + ["store"]
        # All that came over the wire: one bundle, and the small indexes that each process asked for.
        assert size < proxy.down_bytes < 2 * size
