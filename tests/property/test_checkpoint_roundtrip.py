import functools
import math

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

from morph_kernels.checkpoint import CheckpointDamagedError, PlainState
from morph_kernels.checkpoint.dtypes import parse_dtype, tensor_bytes, tensor_from_bytes
from morph_kernels.checkpoint.manifest import ManifestError, parse_manifest
from morph_kernels.checkpoint.packs import plan_pack, plan_reads
from morph_kernels.checkpoint.tree import decode_tree, encode_tree
from tests.support.checkpoints import fingerprint, local_checkpointer, small_state

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
    "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "bool", "complex64", "complex128",
]  # fmt: skip
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def tensors(draw):
    dtype, shape = parse_dtype(draw(st.sampled_from(DTYPES))), draw(shapes)
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype is torch.bool:
        data = bytes(byte & 1 for byte in data)
    return tensor_from_bytes(data, dtype, shape)


@st.composite
def any_layout(draw):
    """A tensor that may be a strided, conjugated or expanded view."""
    tensor = draw(tensors())
    if tensor.dim() > 1 and draw(st.booleans()):
        tensor = tensor.transpose(0, 1)
    if tensor.dim() and draw(st.booleans()):
        tensor = tensor[::2]
    return tensor.conj() if tensor.is_complex() and draw(st.booleans()) else tensor


class Buffers(nn.Module):
    def __init__(self, values):
        super().__init__()
        for name, value in values.items():
            self.register_buffer(name, value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(values={"a": torch.arange(4.0)[::4]})
@given(values=st.dictionaries(st.sampled_from("abcde"), any_layout(), max_size=4))
def test_every_dtype_shape_and_layout_comes_back_bit_for_bit(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("round")
    checkpointer = local_checkpointer(folder)
    checkpointer.save(PlainState(Buffers(values)), epoch=0, step=0).wait()
    empty = Buffers({name: torch.zeros(value.shape, dtype=value.dtype) for name, value in values.items()})
    checkpointer.restore(PlainState(empty))
    checkpointer.close()
    for name, value in values.items():
        assert tensor_bytes(getattr(empty, name)) == tensor_bytes(value)


@example(tensor=torch.arange(4.0)[::4])
@given(tensor=any_layout())
def test_a_tensor_inside_plain_state_comes_back_bit_for_bit(tensor):
    found = decode_tree(encode_tree({"order": tensor}))["order"]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert tensor_bytes(found) == tensor_bytes(tensor)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(value=trees)
def test_plain_state_of_any_shape_comes_back_with_its_kinds(value):
    from morph_kernels.canonical import canonical_bytes

    document = encode_tree(value)
    canonical_bytes({"tree": document})
    # repr tells 1 from 1.0, 0.0 from -0.0, a tuple from a list, and shows a NaN equal to itself.
    assert repr(decode_tree(document)) == repr(value)


@functools.cache
def saved(folder):
    checkpointer = local_checkpointer(folder)
    checkpointer.save(small_state(), epoch=0, step=0).wait()
    checkpointer.close()
    (pack,) = (folder / "store").rglob("packs/*")
    (manifest,) = (folder / "store").rglob("manifest")
    return pack, manifest


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("saved")


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), which=st.sampled_from([0, 1]))
def test_any_single_changed_byte_is_detected_and_changes_nothing(saved_folder, where, flip, which):
    path = saved(saved_folder)[which]
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[int(where * len(whole))] ^= flip
    state = small_state(seed=3)
    before = fingerprint(state)
    checkpointer = local_checkpointer(saved_folder)
    try:
        path.write_bytes(changed)
        with pytest.raises(CheckpointDamagedError):
            checkpointer.restore(state)
    finally:
        path.write_bytes(whole)
        checkpointer.close()
    assert fingerprint(state) == before


@given(data=st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_bytes_that_are_no_manifest_are_refused(data):
    with pytest.raises(ManifestError):
        parse_manifest(data)


@given(sizes=st.lists(st.integers(0, 10**6), max_size=30), live_count=st.integers(0, 30))
def test_a_pack_holds_the_new_blobs_end_to_end_and_reads_cover_every_blob(sizes, live_count):
    blobs = {f"{i:064x}": size for i, size in enumerate(sizes)}
    first = plan_pack(blobs, {}, "old")
    live = dict(list(first.locations.items())[:live_count])
    plan = plan_pack(blobs, live, "new")
    assert set(plan.locations) == {digest for digest, size in blobs.items() if size}
    end = 0
    for digest in plan.new:
        assert (plan.locations[digest].location, plan.locations[digest].byte_offset) == ("new", end)
        end += blobs[digest]
    assert plan.size_bytes == end
    covered = {}
    for read in plan_reads(plan.locations):
        for digest, place in read.blobs.items():
            assert read.offset <= place.byte_offset
            assert place.byte_offset + place.size_bytes <= read.offset + read.length
            covered[digest] = place
    assert covered == plan.locations
