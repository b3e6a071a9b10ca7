"""What a child leaves is read as an attack: anything but the format is refused, and every ending has its reason."""

import json
import os

import numpy as np
import pytest

from morph_assets.evaluation.claims import parse_memory, parse_timings
from morph_assets.evaluation.compare import plan_floors, relative_errors
from morph_assets.evaluation.exchange import GarbledError, Recording, read_recording, write_recording
from morph_assets.evaluation.samples import Sample
from morph_assets.evaluation.sandboxed import find_failure
from morph_kernels.compile.sandbox import Outcome
from morph_kernels.reasons import Reason


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "000-1.bin"
    tensors = {"output.y": np.arange(6, dtype="float32").reshape(2, 3), "buffer.n": np.array(3)}
    write_recording(path, Recording(tensors, {"generator": "0" * 64}, {"repeats": True}))
    return path


def test_a_recording_comes_back_as_it_was_written(written):
    found = read_recording(written, max_bytes=10_000)
    assert found.tensors["output.y"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.tensors["buffer.n"].shape == ()
    assert found.digests == {"generator": "0" * 64}
    assert found.claims == {"repeats": True}


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_cut_recording_is_refused(written, place):
    data = written.read_bytes()
    written.write_bytes(data[: min(place, len(data) - 1)])
    with pytest.raises(GarbledError):
        read_recording(written, max_bytes=10_000)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"tensors": {}, "digests": [], "claims": 1},
        {"tensors": [{"name": "y", "dtype": "object", "shape": [1]}], "digests": {}, "claims": {}},
        {"tensors": [{"name": "y", "dtype": "float32", "shape": [-1]}], "digests": {}, "claims": {}},
        {"tensors": [{"name": "y", "dtype": "float32", "shape": [2**62, 2**62]}], "digests": {}, "claims": {}},
        {"tensors": [{"name": "y", "dtype": "float32", "shape": [True]}], "digests": {}, "claims": {}},
        {"tensors": [{"name": ["y"], "dtype": "float32", "shape": [1]}], "digests": {}, "claims": {}},
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header):
    text = json.dumps(header).encode()
    path = tmp_path / "000-1.bin"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)
    if header and header["tensors"] and header["tensors"][0]["name"] == ["y"]:
        path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(GarbledError):
        read_recording(path, max_bytes=10_000)


def test_links_pipes_and_large_files_are_refused(tmp_path, written):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(written)
    os.mkfifo(pipe)
    for path, most in ((link, 10_000), (pipe, 10_000), (written, 10), (tmp_path / "none", 10_000)):
        with pytest.raises(GarbledError):
            read_recording(path, max_bytes=most)


@pytest.mark.parametrize(
    ("code", "timed_out", "refusal", "reason"),
    [
        (139, False, None, Reason.CRASHED),
        (0, True, None, Reason.TIMED_OUT),
        (152, False, None, Reason.TIMED_OUT),
        (1, False, {"error": "BodyLoadError", "message": "no symbol"}, Reason.LOAD_FAILED),
        (1, False, {"error": "MemoryError", "message": ""}, Reason.OUT_OF_MEMORY),
        (
            1,
            False,
            {"error": "RuntimeError", "message": "DefaultCPUAllocator: can't allocate memory"},
            Reason.OUT_OF_MEMORY,
        ),
        (1, False, {"error": "RuntimeError", "message": "shape"}, Reason.CRASHED),
        (1, False, {}, Reason.CRASHED),
    ],
)
def test_every_bad_ending_has_its_reason(tmp_path, code, timed_out, refusal, reason):
    (tmp_path / "stage.txt").write_text("middle at 3 threads\x1b[31m")
    if refusal is not None:
        (tmp_path / "refusal.json").write_text(json.dumps(refusal))
    failure = find_failure(Outcome(code, 1.0, "log", timed_out), tmp_path)
    assert failure is not None
    assert failure.reason is reason
    assert "\x1b" not in failure.detail


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"ratio": 0},
        {"ratio": float("inf")},
        {"ratio": True},
        {"pairs": 1.5},
        {"sample": "other"},
        {"direction": "sideways"},
        {"compiled": None},
        {"compiled": {"median": -1.0, "least": 1.0, "most": 1.0}},
    ],
)
def test_claimed_times_are_read_strictly(row):
    spread = {"median": 1.0, "least": 1.0, "most": 2.0}
    right = {"sample": "middle", "direction": "step", "threads": 1, "pairs": 3, "ratio": 1.0}
    right |= {"compiled": spread, "eager": spread}
    timed = {"middle": Sample("middle", {"batch": 3})}
    assert len(parse_timings({"timings": [right]}, timed)) == 1
    with pytest.raises(GarbledError):
        parse_timings({"timings": [right | row if row else None]}, timed)


def test_claimed_memory_is_read_strictly():
    right = {"growth_bytes": -32, "held_bytes": 1, "eager_held_bytes": 2}
    assert parse_memory({"memory": right}).growth_bytes == -32
    for wrong in ({}, {"memory": 3}, {"memory": right | {"held_bytes": 1.5}}, {"memory": {"growth_bytes": 1}}):
        with pytest.raises(GarbledError):
            parse_memory(wrong)


def test_errors_are_relative_and_a_zero_gradient_is_scaled_by_its_neighbours():
    exact = {
        "parameter_gradient.weight": np.full(4, 100.0),
        "parameter_gradient.bias": np.full(4, 1e-12),
        "output.y": np.ones(3),
    }
    floors = plan_floors(exact, 0.01)
    assert floors == {"parameter_gradient": pytest.approx(2.0)}
    bias, noise = exact["parameter_gradient.bias"], np.full(4, 1e-7, dtype="float32")
    error, eager_error = relative_errors(noise, noise, bias, floor=floors["parameter_gradient"])
    assert error == eager_error == pytest.approx(1e-7, rel=1e-3)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_a_hole_must_be_where_eager_has_one(hole):
    exact = np.array([1.0, 2.0, 3.0])
    right, holed = exact.astype("float32"), np.array([1.0, hole, 3.0], dtype="float32")
    assert relative_errors(holed, right, exact, floor=0.0)[0] == np.inf
    assert relative_errors(right, holed, exact, floor=0.0)[0] == np.inf
    assert relative_errors(holed, holed, np.array([1.0, np.nan, 3.0]), floor=0.0) == (0.0, 0.0)
