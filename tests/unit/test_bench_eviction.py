"""The benchmark of eviction: the same loads every time, and policies that it can tell apart."""

from morph_assets.bench.eviction_bench import POLICIES, bench_eviction, replay
from morph_assets.bench.eviction_traces import TracedKernel, TraceShape, make_trace
from morph_kernels.identity import KernelDigest

SHAPE = TraceShape(kernels=200, requests=3000, drift_every=200)


def request(name, size_bytes=1, rebuild_s=1.0):
    return TracedKernel(KernelDigest(name * 64), size_bytes, rebuild_s)


def test_a_seed_makes_the_same_trace():
    assert make_trace(3, SHAPE) == make_trace(3, SHAPE) != make_trace(4, SHAPE)
    assert len(make_trace(3, SHAPE)) == 3000


def test_each_policy_drops_what_it_says():
    trace = [request(name) for name in "aabcab"]  # for two: c drives out b by LRU's choice of a, by LFU's of b
    saved = {name: replay(trace, score, budget_bytes=2).hits for name, score in POLICIES.items()}
    assert saved == {"GDSF (ours)": 2 / 6, "LRU": 1 / 6, "LFU": 2 / 6, "Belady": 2 / 6}


def test_what_is_larger_than_the_cache_is_never_held():
    assert replay([request("a", 5)] * 4, POLICIES["LRU"], budget_bytes=4).hits == 0


def test_ours_saves_more_than_the_others_and_less_than_knowing_the_future():
    rows = {(row.case, row.metric): row.median for row in bench_eviction(SHAPE, traces=3).rows}
    saved = {name: rows[f"{name}, 10% of the library", "seconds saved"] for name in POLICIES}
    assert max(saved["LRU"], saved["LFU"]) < saved["GDSF (ours)"] < saved["Belady"]
