"""The public face of a blueprint: read it, name it by its content, build it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from morph_kernels.blueprint.cursor import Source
from morph_kernels.blueprint.errors import BlueprintError, BlueprintMalformedError, BlueprintRuleError
from morph_kernels.blueprint.graph import Graph
from morph_kernels.blueprint.inference import parameter_bytes
from morph_kernels.blueprint.interface import Interface
from morph_kernels.blueprint.json_source import read_json
from morph_kernels.blueprint.limits import MAX_SOURCE_BYTES, MAX_TAGS
from morph_kernels.blueprint.rules import read_graph
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import NAME_PATTERN, BlueprintDigest, InvalidNameError, parse_name

if TYPE_CHECKING:
    import torch

_NAME: Final = re.compile(NAME_PATTERN)
_NAME_WORDS: Final = "1 to 63 of a-z 0-9 . _ - beginning with a letter or digit"


class Blueprint:
    """An immutable design of a module, named by the sha256 of its canonical bytes.

    The digest covers the interface, the nodes and the initialisation; not the name and the tags. Two blueprints are
    equal when their digests are.
    """

    __slots__ = ("_bytes", "_graph", "digest", "name", "tags")

    name: str
    digest: BlueprintDigest
    tags: tuple[str, ...]
    _graph: Graph
    _bytes: bytes

    def __init__(self, graph: Graph, *, name: str, tags: Sequence[str] = ()) -> None:
        data = canonical_bytes(graph.to_document())
        if len(data) > MAX_SOURCE_BYTES:
            raise BlueprintError(f"blueprint {name!r}: its document has more than the {MAX_SOURCE_BYTES} bytes allowed")
        found = {
            "_graph": graph,
            "_bytes": data,
            "name": _parse_name(name, "name"),
            "digest": BlueprintDigest(sha256_hex(data)),
            "tags": _parse_tags(tags),
        }
        for key, value in found.items():
            object.__setattr__(self, key, value)

    @classmethod
    def from_yaml(cls, source: Path | str) -> Self:
        """Read a yaml file, or yaml text if `source` contains a newline.

        Raises:
            BlueprintError: the file cannot be read, or what is in it is refused; the message names the place.
        """
        if isinstance(source, str) and "\n" in source:
            return cls._from_text(source)
        path = Path(source)
        try:
            return cls._from_text(_read_file(path))
        except BlueprintError as error:
            raise type(error)(f"{path.name}: {error}") from None

    @classmethod
    def _from_text(cls, text: str) -> Self:
        # A training job reads canonical JSON: it does not import a yaml parser.
        from morph_kernels.blueprint.yaml_source import read_yaml

        graph, extra = read_graph(_with_format(read_yaml(text)), extra=("name", "tags"))
        if "name" not in extra:
            raise BlueprintRuleError(f"document: missing key 'name': {_NAME_WORDS}")
        name = extra["name"].text(_NAME, _NAME_WORDS)
        tags = [t.text(_NAME, _NAME_WORDS) for t in extra["tags"].items(most=MAX_TAGS)] if "tags" in extra else []
        return cls(graph, name=name, tags=tags)

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str, tags: Sequence[str] = ()) -> Self:
        """Read canonical bytes, which are checked like any attack input.

        Raises:
            BlueprintError: a rule is broken, or the bytes are not the one canonical form of what they say.
        """
        graph, _ = read_graph(read_json(bytes(data)))
        found = cls(graph, name=name, tags=tags)
        if found.to_bytes() != data:
            raise BlueprintMalformedError("document: not in canonical form (RFC 8785, defaults left out)")
        return found

    @classmethod
    def from_module(
        cls,
        module: "torch.nn.Module",
        *,
        example_inputs: Sequence["torch.Tensor"],
        name: str,
        dynamic: Mapping[int, Mapping[int, str]] | None = None,
        ranges: Mapping[str, tuple[int, int]] | None = None,
        tags: Sequence[str] = (),
    ) -> Self:
        """Read the design of an `nn.Module`; its weights stay behind.

        `dynamic` is {input: {dimension: symbol}}; `ranges` gives a symbol's least and largest size. By default they
        are 1 to 1024 for dimension 0 and 1 to 64 for others, or up to the example's size if that is larger. The
        state_dict keys of what is built are those of the module.

        Raises:
            BlueprintError: the module says something that the IR cannot; the message names it.
        """
        from morph_kernels.blueprint.capture import capture_document, check_equal

        document = capture_document(module, tuple(example_inputs), dynamic or {}, ranges or {})
        graph, _ = read_graph(Source(document))
        found = cls(graph, name=name, tags=tags)
        check_equal(module, found.build(), example_inputs)
        return found

    @property
    def interface(self) -> Interface:
        """The named inputs and outputs, and the ranges of their symbols."""
        return self._graph.interface

    @property
    def graph(self) -> Graph:
        """The nodes, in order, and the interface."""
        return self._graph

    @property
    def document(self) -> Mapping[str, Any]:
        """Exactly what the digest covers; a fresh copy."""
        return self._graph.to_document()

    @property
    def parameter_bytes(self) -> int:
        """The bytes of all parameters."""
        return parameter_bytes(self._graph)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, whose sha256 is the digest."""
        return self._bytes

    def build(self, seed: int = 0, *, device: str = "cpu") -> "torch.nn.Module":
        """Return a new module with every parameter filled by (seed, qualified name), bit for bit the same each time.

        The global generators of torch are neither read nor moved. `forward` takes the inputs by position and returns
        a tensor, or a tuple where the interface has more than one output.
        """
        from morph_kernels.blueprint.assemble import build_module

        return build_module(self._graph, seed=seed, device=device)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Blueprint is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Blueprint is immutable: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blueprint) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Blueprint({self.name!r}, digest={self.digest[:12]}..., {len(self._graph.nodes)} nodes)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._bytes, self.name, self.tags)


def _restore(data: bytes, name: str, tags: tuple[str, ...]) -> Blueprint:
    """Read a copied blueprint through the same rules as any other bytes."""
    return Blueprint.from_bytes(data, name=name, tags=tags)


def _with_format(source: Source) -> Source:
    """Let yaml leave out the format: a file is always read as the current one."""
    from morph_kernels.blueprint.graph import FORMAT

    if isinstance(source.value, dict) and "format" not in source.value:
        return Source({**source.value, "format": FORMAT}, source.lines)
    return source


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise BlueprintMalformedError(f"cannot be read: {error.strerror}") from error
    try:
        # A cut at the bound may split a character; the length alone then says it is too large.
        return data.decode("utf-8", "replace" if len(data) > MAX_SOURCE_BYTES else "strict")
    except UnicodeDecodeError as error:
        raise BlueprintMalformedError(f"byte {error.start}: not UTF-8") from None


def _parse_name(name: str, what: str) -> str:
    try:
        return parse_name(name, what=what)
    except InvalidNameError as error:
        raise BlueprintRuleError(str(error)) from None


def _parse_tags(tags: Sequence[str]) -> tuple[str, ...]:
    if len(tags) > MAX_TAGS:
        raise BlueprintRuleError(f"tags: has {len(tags)} items; at most {MAX_TAGS} are allowed")
    return tuple(_parse_name(tag, "tag") for tag in tags)
