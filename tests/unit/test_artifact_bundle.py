import struct
import tracemalloc

import pytest
import zstandard

from morph_kernels.artifact.bundle import KernelBundle, decode_bundle, encode_bundle
from morph_kernels.artifact.document import MalformedError
from morph_kernels.reasons import Reason
from tests.support.artifacts import FORWARD, make_bundle

BUNDLE = make_bundle()
LIMIT = 1024 * 1024


def frame(content, **options):
    return zstandard.ZstdCompressor(write_checksum=True, **options).compress(content)


def content_of(data):
    return zstandard.ZstdDecompressor().decompress(data)


def test_a_bundle_comes_back_from_its_bytes():
    assert decode_bundle(encode_bundle(BUNDLE), max_bytes=LIMIT) == BUNDLE


def test_a_bundle_without_a_backward_library_comes_back():
    bundle = KernelBundle(BUNDLE.manifest, {"forward": FORWARD})
    assert decode_bundle(encode_bundle(bundle), max_bytes=LIMIT) == bundle


def test_equal_bundles_have_equal_bytes():
    disordered = KernelBundle(BUNDLE.manifest, dict(reversed(list(BUNDLE.libraries.items()))))
    assert encode_bundle(disordered) == encode_bundle(BUNDLE)


@pytest.mark.parametrize("cut", [1, 4, 100, 10_000])
def test_a_truncated_bundle_is_malformed(cut):
    data = encode_bundle(BUNDLE)
    with pytest.raises(MalformedError):
        decode_bundle(data[: max(0, len(data) - cut)], max_bytes=LIMIT)


def test_every_flipped_byte_of_a_stored_bundle_is_noticed_or_harmless():
    data = encode_bundle(BUNDLE)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        try:
            decoded = decode_bundle(bytes(damaged), max_bytes=LIMIT)
        except MalformedError:
            continue
        # A header bit that zstd ignores may flip: then the content must still be the same.
        assert decoded == BUNDLE


def test_bytes_after_the_frame_are_refused():
    with pytest.raises(MalformedError):
        decode_bundle(encode_bundle(BUNDLE) + b"\0", max_bytes=LIMIT)
    with pytest.raises(MalformedError):
        decode_bundle(encode_bundle(BUNDLE) * 2, max_bytes=LIMIT)


def test_a_frame_that_does_not_say_its_size_is_refused():
    with pytest.raises(MalformedError, match="content size"):
        decode_bundle(frame(content_of(encode_bundle(BUNDLE)), write_content_size=False), max_bytes=LIMIT)


def test_a_decompression_bomb_is_refused_before_memory_is_taken():
    bomb = frame(bytes(64 * LIMIT))
    assert len(bomb) < LIMIT
    tracemalloc.start()
    with pytest.raises(MalformedError) as caught:
        decode_bundle(bomb, max_bytes=LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason is Reason.TOO_LARGE
    assert peak < LIMIT


def test_a_bomb_that_lies_about_its_size_is_refused():
    bomb = bytearray(frame(bytes(64 * LIMIT)))
    parameters = zstandard.get_frame_parameters(bytes(bomb))
    place = bytes(bomb).index(struct.pack("<I", parameters.content_size))
    bomb[place : place + 4] = struct.pack("<I", 1000)
    with pytest.raises(MalformedError):
        decode_bundle(bytes(bomb), max_bytes=LIMIT)


def test_input_that_could_only_hold_too_much_is_refused_unread():
    with pytest.raises(MalformedError) as caught:
        decode_bundle(bytes(4 * LIMIT), max_bytes=LIMIT)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, b"X"),
        (8, b"\xff\xff\xff\xff"),
        (8, b"\x00\x00\x00\x00"),
        (12, b"\x00"),
        (12, b"\x03"),
        (13, b"\x02"),
        (13, b"\x09"),
        (14, b"\xff" * 8),
        (22, b"\x01"),
    ],
)
def test_a_wrong_header_inside_a_good_frame_is_malformed(offset, value):
    content = bytearray(content_of(encode_bundle(BUNDLE)))
    content[offset : offset + len(value)] = value
    with pytest.raises(MalformedError):
        decode_bundle(frame(bytes(content)), max_bytes=LIMIT)


@pytest.mark.parametrize("content", [b"", b"MORPHKB1", b"MORPHKB1\0\0\0\0\x02\x01"])
def test_a_frame_too_short_for_a_header_is_malformed(content):
    with pytest.raises(MalformedError):
        decode_bundle(frame(content), max_bytes=LIMIT)


@pytest.mark.parametrize("libraries", [{}, {"sideways": b"x"}])
def test_a_bundle_that_nobody_could_read_is_never_written(libraries):
    with pytest.raises(ValueError, match="bundle"):
        encode_bundle(KernelBundle(b"{}", libraries))
