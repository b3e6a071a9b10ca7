"""What a signer process and its parent say to each other.

Request: length (4 bytes, big-endian), then the RFC 8785 bytes of the document to sign. Reply: length, then one byte of
status (0 signed, 1 refused) and the envelope, or why not. The child sends an empty signed reply once it has its key.
"""

import struct

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
SIGNED = 0
REFUSED = 1
HEAD = struct.Struct(">I")


def frame(body: bytes) -> bytes:
    """Return a message with its length in front."""
    return HEAD.pack(len(body)) + body


def reply(status: int, body: bytes) -> bytes:
    """Return a framed reply."""
    return frame(bytes([status]) + body)


def parse_head(data: bytes) -> int:
    """Return the length that follows; raise ValueError if nothing that long is ever sent."""
    (length,) = HEAD.unpack(data)
    # An envelope is base64 of what it signs: a third longer.
    if not 0 < length <= 2 * MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return int(length)


def split_reply(body: bytes) -> tuple[int, bytes]:
    """Return a reply's status and content."""
    return body[0], body[1:]
