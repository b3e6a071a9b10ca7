"""What a loader leaves where a kernel was missing: which blueprint, and which host asks. Nobody vouches for it."""

import re
from dataclasses import dataclass

from morph_kernels.artifact.document import Fields, MalformedError, parse_document
from morph_kernels.artifact.target import Runtime
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import NAME_PATTERN, BlueprintDigest

MAX_REQUEST_BYTES = 4096
_NAME = re.compile(NAME_PATTERN)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class BuildRequest:
    """A wish for a kernel of a blueprint that runs on a host.

    Attributes:
        blueprint_digest: of the blueprint that was loaded.
        name: by which it was loaded.
        runtime: of the host.
        day: in UTC, as ISO 8601. The same wish of another day is another request, so that what failed is tried again.
    """

    blueprint_digest: BlueprintDigest
    name: str
    runtime: Runtime
    day: str

    @property
    def digest(self) -> str:
        """What names the request: many hosts of one kind make one request a day."""
        return sha256_hex(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the RFC 8785 bytes that lie in the store."""
        return canonical_bytes(
            {
                "blueprint_digest": self.blueprint_digest,
                "day": self.day,
                "name": self.name,
                "runtime": self.runtime.to_document(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "BuildRequest":
        """Read what `to_bytes` wrote.

        Raises:
            MalformedError: these bytes are no request.
        """
        fields = Fields(parse_document(data, what="build request", max_bytes=MAX_REQUEST_BYTES), what="build request")
        request = cls(
            blueprint_digest=BlueprintDigest(fields.digest("blueprint_digest")),
            name=fields.text("name", _NAME),
            runtime=Runtime.from_document(fields.take("runtime")),
            day=fields.text("day", _DAY),
        )
        fields.close()
        return request


def read_request(data: bytes) -> BuildRequest | None:
    """Return the request that the bytes are, or None where they are none."""
    try:
        return BuildRequest.from_bytes(data)
    except MalformedError:
        return None
