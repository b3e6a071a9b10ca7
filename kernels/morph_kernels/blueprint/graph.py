"""The IR itself: frozen data, and the one document that its digest covers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from morph_kernels.blueprint.interface import Interface, TensorSpec
from morph_kernels.blueprint.ops.registry import OPS
from morph_kernels.blueprint.ops.spec import Initialisation, Op, Slot

FORMAT: Final = 1
INITIALISATIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"zeros": (), "ones": (), "constant": ("value",), "normal": ("mean", "std"), "uniform": ("low", "high")}
)


@dataclass(frozen=True)
class Node:
    """One step. `module` is the state_dict prefix: another node's id where weights are shared.

    `attributes` holds every attribute with its default filled in; a document leaves defaults out, so that an op
    can gain an attribute without changing the digest of what was written before.
    """

    id: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    module: str = ""
    initialisation: Mapping[str, Initialisation] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def definition(self) -> Op:
        """The op that the node applies."""
        return OPS[self.op]

    @property
    def shares(self) -> bool:
        """Whether the node uses the module of an earlier node."""
        return self.module != self.id

    def parameters(self) -> tuple[tuple[str, Slot], ...]:
        """Return the qualified name and the slot of each parameter that the node brings."""
        return self._qualified(self.definition.parameters(self.attributes))

    def buffers(self) -> tuple[tuple[str, Slot], ...]:
        """Return the qualified name and the slot of each buffer that the node brings."""
        return self._qualified(self.definition.buffers(self.attributes))

    def _qualified(self, slots: tuple[Slot, ...]) -> tuple[tuple[str, Slot], ...]:
        if self.shares:
            return ()
        return tuple((f"{self.id}.{slot.name}" if slot.name else self.id, slot) for slot in slots)

    def to_document(self) -> dict[str, Any]:
        """Return the node as it stands in the document."""
        entries: dict[str, Any] = {"id": self.id, "op": self.op}
        if self.inputs:
            entries["inputs"] = list(self.inputs)
        if self.shares:
            return entries | {"module": self.module}
        known = self.definition.attributes
        given = {k: _plain(v) for k, v in self.attributes.items() if v != known[k].default}
        fills = {name: _filled(fill) for name, fill in self.initialisation.items()}
        return entries | ({"attributes": given} if given else {}) | ({"initialisation": fills} if fills else {})


@dataclass(frozen=True)
class Graph:
    """An interface, the nodes in order, and which value each output is."""

    interface: Interface
    nodes: tuple[Node, ...]
    results: tuple[str, ...]

    def parameters(self) -> tuple[tuple[str, Slot], ...]:
        """Return every parameter by its qualified name, in the order of the nodes."""
        return tuple(pair for node in self.nodes for pair in node.parameters())

    def buffers(self) -> tuple[tuple[str, Slot], ...]:
        """Return every buffer by its qualified name, in the order of the nodes."""
        return tuple(pair for node in self.nodes for pair in node.buffers())

    def to_document(self) -> dict[str, Any]:
        """Return exactly what the digest covers."""
        interface = self.interface
        outputs = zip(interface.outputs, self.results, strict=True)
        return {
            "format": FORMAT,
            "symbols": {name: [allowed.min, allowed.max] for name, allowed in interface.symbols.items()},
            "inputs": [_tensor(spec) for spec in interface.inputs],
            "outputs": [_tensor(spec) | {"value": value} for spec, value in outputs],
            "nodes": [node.to_document() for node in self.nodes],
        }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    entries = {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
    return entries if spec.below is None else entries | {"below": spec.below}


def _filled(fill: Initialisation) -> dict[str, Any]:
    return {"kind": fill.kind} | dict(zip(INITIALISATIONS[fill.kind], fill.arguments, strict=True))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
