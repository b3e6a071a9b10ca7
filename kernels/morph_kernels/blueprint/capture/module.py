"""From an `nn.Module` to a document: trace, walk, and prove that the result computes the same."""

import copy
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import fx, nn

from morph_kernels.blueprint.capture.calls import ALLOWED_CALLS, find_handler
from morph_kernels.blueprint.capture.leaves import OWNING, STATELESS
from morph_kernels.blueprint.capture.recorder import Recorder, Ref, Size
from morph_kernels.blueprint.errors import UnsupportedModuleError
from morph_kernels.blueprint.expressions import canonical_dimension, is_symbol
from morph_kernels.blueprint.graph import FORMAT
from morph_kernels.blueprint.interface import DTYPES, SymbolRange, TensorSpec
from morph_kernels.blueprint.limits import MAX_DIMENSION

_MOST_BATCH: Final = 1024
_MOST_ELSEWHERE: Final = 64
# On plain numbers these are worked out at once: `x.shape[-1] ** -0.5` is a number where the size is fixed.
_ON_NUMBERS: Final = frozenset(
    {operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.pow, operator.neg}
)
_TRACE_ERRORS: Final = (fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError, NameError)


def capture_document(
    module: nn.Module,
    example_inputs: Sequence[torch.Tensor],
    dynamic: Mapping[int, Mapping[int, str]],
    ranges: Mapping[str, tuple[int, int]],
) -> dict[str, Any]:
    """Return the document of a module's design.

    Raises:
        UnsupportedModuleError: the module says something that the IR cannot, at the node that the message names.
    """
    check_leaves(module)
    graph = _trace(module)
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    if len(placeholders) != len(example_inputs):
        names = ", ".join(str(node.target) for node in placeholders)
        raise UnsupportedModuleError(
            f"example_inputs: forward takes {len(placeholders)} tensors ({names}), got {len(example_inputs)}"
        )
    symbols = _symbols(example_inputs, dynamic, ranges)
    taken = {path for path, _ in (*module.named_modules(), *module.named_parameters()) if path}
    inputs = _inputs(placeholders, example_inputs, dynamic, taken)
    recorder = Recorder(inputs, symbols, taken)
    results = _Walk(module, recorder, dict(zip(placeholders, inputs, strict=True))).run(graph)
    return _document(recorder, inputs, symbols, results)


def check_leaves(module: nn.Module) -> None:
    """Refuse what a design cannot hold: other dtypes, shared parameters, buffers of one's own, hooks."""
    if type(module) in OWNING or type(module) in STATELESS:
        raise UnsupportedModuleError(f"{type(module).__name__}: a lone layer has no name; put it into an nn.Sequential")
    seen: dict[int, str] = {}
    for path, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.dtype != torch.float32:
            raise UnsupportedModuleError(f"parameter {path!r}: is {parameter.dtype}; allowed: torch.float32")
        if (first := seen.setdefault(id(parameter), path)) != path:
            message = f"is the same tensor as {first!r}; call one module twice instead of sharing a parameter"
            raise UnsupportedModuleError(f"parameter {path!r}: {message}")
    for path, child in module.named_modules():
        if child._forward_hooks or child._forward_pre_hooks:  # noqa: SLF001  torch has no public question for it
            raise UnsupportedModuleError(f"module {path or 'itself'!r}: has forward hooks, which no design can hold")


def _trace(module: nn.Module) -> fx.Graph:
    try:
        return fx.Tracer().trace(module)
    except _TRACE_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModuleError(f"{type(module).__name__}: forward cannot be traced: {reason}") from error


def _symbols(
    examples: Sequence[torch.Tensor], dynamic: Mapping[int, Mapping[int, str]], ranges: Mapping[str, tuple[int, int]]
) -> dict[str, SymbolRange]:
    found: dict[str, SymbolRange] = {}
    sizes: dict[str, int] = {}
    for index, dim, symbol in ((i, d, s) for i, dims in dynamic.items() for d, s in dims.items()):
        place = f"dynamic[{index}][{dim}]"
        if index not in range(len(examples)) or dim not in range(examples[index].dim()):
            raise UnsupportedModuleError(f"{place}: there is no such input or dimension")
        if not is_symbol(symbol):
            raise UnsupportedModuleError(f"{place}: {symbol!r} is no symbol: a-z 0-9 _, beginning with a letter")
        size = examples[index].shape[dim]
        if (first := sizes.setdefault(symbol, size)) != size:
            raise UnsupportedModuleError(f"{place}: the example has size {size}, but {symbol!r} was {first} before")
        if symbol not in found:
            found[symbol] = _range(symbol, ranges.get(symbol), size, _MOST_BATCH if dim == 0 else _MOST_ELSEWHERE)
    for symbol in ranges:
        if symbol not in found:
            raise UnsupportedModuleError(f"ranges[{symbol!r}]: no dimension in `dynamic` has this symbol")
    return found


def _range(symbol: str, given: tuple[int, int] | None, size: int, most_by_default: int) -> SymbolRange:
    least, most = given or (1, max(most_by_default, size))
    if not 1 <= least <= size <= most <= MAX_DIMENSION:
        allowed = f"must hold the example's size {size} and be within 1 to {MAX_DIMENSION}"
        raise UnsupportedModuleError(f"ranges[{symbol!r}]: {least} to {most} {allowed}")
    return SymbolRange(least, most)


def _inputs(
    placeholders: Sequence[fx.Node],
    examples: Sequence[torch.Tensor],
    dynamic: Mapping[int, Mapping[int, str]],
    taken: set[str],
) -> list[TensorSpec]:
    found = []
    for index, (node, example) in enumerate(zip(placeholders, examples, strict=True)):
        dtype = str(example.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise UnsupportedModuleError(f"example_inputs[{index}]: is {dtype}; allowed: {', '.join(DTYPES)}")
        shape = tuple(dynamic.get(index, {}).get(dim, size) for dim, size in enumerate(example.shape))
        name = _input_name(str(node.target), index, taken)
        below = MAX_DIMENSION if dtype == "int64" else None
        found.append(TensorSpec(name, dtype, shape, below))
    return found


def _input_name(wanted: str, index: int, taken: set[str]) -> str:
    name = wanted.lower() if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,47}", wanted) else f"input{index}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


class _Walk:
    """Goes through a traced graph once; every value is a Ref, a Size, a plain number, or a tuple of them."""

    def __init__(self, module: nn.Module, recorder: Recorder, inputs: Mapping[fx.Node, TensorSpec]) -> None:
        self._module = module
        self._recorder = recorder
        self._values: dict[fx.Node, Any] = {node: Ref(spec.name) for node, spec in inputs.items()}
        self._owned: set[str] = set()

    def run(self, graph: fx.Graph) -> tuple[Ref, ...]:
        """Return the outputs, once every node is recorded and every parameter is used."""
        results: Any = ()
        for node in graph.nodes:
            self._recorder.current = f"{node.op} {node.target} ({node.name})"
            if node.op == "output":
                results = self._plain(node.args[0])
            elif node.op != "placeholder":
                self._values[node] = self._node(node)
        self._recorder.current = "forward"
        listed = results if isinstance(results, tuple) else (results,)
        found = tuple(result for result in listed if isinstance(result, Ref))
        if not found or len(found) != len(listed):
            self._recorder.refuse("must return a tensor or a tuple of tensors")
        self._check_everything_is_used()
        return found

    def _node(self, node: fx.Node) -> Any:
        if node.op == "call_module":
            return self._call_module(node)
        if node.op == "get_attr":
            return self._parameter(str(node.target))
        args = [self._plain(arg) for arg in node.args]
        kwargs = {key: self._plain(arg) for key, arg in node.kwargs.items()}
        if node.op == "call_function" and node.target in _ON_NUMBERS and all(isinstance(a, int | float) for a in args):
            return node.target(*args)
        handler = find_handler(node.op, node.target)
        if handler is None:
            self._recorder.refuse(f"is not a function of the IR; allowed: {', '.join(ALLOWED_CALLS)}")
        try:
            return handler(self._recorder, *args, **kwargs)
        except (TypeError, IndexError) as error:
            self._recorder.refuse(f"has arguments that the IR has no word for: {error}")

    def _call_module(self, node: fx.Node) -> Ref:
        path = str(node.target)
        leaf = self._module.get_submodule(path)
        operands = [self._plain(arg) for arg in node.args]
        if node.kwargs or len(operands) != 1 or not isinstance(operands[0], Ref):
            self._recorder.refuse("takes one tensor by position")
        if type(leaf) is nn.Identity:
            return operands[0]
        if getattr(leaf, "inplace", False) and not self._may_overwrite(node):
            self._recorder.refuse("inplace=True changes a value that is used again; set inplace=False")
        if type(leaf) in STATELESS:
            op, read = STATELESS[type(leaf)]
            return self._recorder.emit(path.replace(".", "_"), op, operands, **read(self._recorder, leaf))
        if type(leaf) not in OWNING:
            allowed = ", ".join(sorted(kind.__name__ for kind in (*OWNING, *STATELESS)))
            self._recorder.refuse(f"is a {type(leaf).__name__}; allowed: {allowed}")
        op, read = OWNING[type(leaf)]
        if path in self._owned:
            return self._recorder.emit(f"{path}_again", op, operands, module=path)
        self._owned.add(path)
        return self._recorder.emit(path, op, operands, exact=True, **read(self._recorder, leaf))

    def _may_overwrite(self, node: fx.Node) -> bool:
        """Return whether the only use of a fresh tensor is here, so that overwriting it cannot be seen."""
        source = node.args[0]
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            return False
        return type(self._module.get_submodule(str(source.target))) in OWNING.keys() - {nn.Dropout}

    def _parameter(self, path: str) -> Ref:
        owner, _, name = path.rpartition(".")
        found = getattr(self._module.get_submodule(owner), name)
        if not isinstance(found, nn.Parameter):
            self._recorder.refuse("is data of its own (a buffer or constant); a design holds parameters only")
        if path in self._owned:
            return Ref(path)
        self._owned.add(path)
        return self._recorder.emit(path, "parameter", [], exact=True, sizes=list(found.shape))

    def _check_everything_is_used(self) -> None:
        for key in self._module.state_dict():
            if key not in self._owned and key.rpartition(".")[0] not in self._owned:
                self._recorder.refuse(f"never uses {key!r}, so that a design could not keep it; remove it")

    def _plain(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            return self._values[value]
        if isinstance(value, slice):
            return slice(self._plain(value.start), self._plain(value.stop), self._plain(value.step))
        return tuple(self._plain(item) for item in value) if isinstance(value, list | tuple) else value


def _document(
    recorder: Recorder, inputs: Sequence[TensorSpec], symbols: Mapping[str, SymbolRange], results: Sequence[Ref]
) -> dict[str, Any]:
    names = ["output"] if len(results) == 1 else [f"output{index}" for index in range(len(results))]
    return {
        "format": FORMAT,
        "symbols": {name: [allowed.min, allowed.max] for name, allowed in symbols.items()},
        "inputs": [_input_entry(spec, recorder.nodes) for spec in inputs],
        "outputs": [_output_entry(recorder, name, ref) for name, ref in zip(names, results, strict=True)],
        "nodes": recorder.nodes,
    }


def _input_entry(spec: TensorSpec, nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
    if spec.below is None:
        return entry
    uses = [
        n["attributes"] for n in nodes if n["op"] == "embedding" and n["inputs"] == [spec.name] and "attributes" in n
    ]
    return entry | {"below": min((use["num_embeddings"] for use in uses), default=spec.below)}


def _output_entry(recorder: Recorder, name: str, ref: Ref) -> dict[str, Any]:
    sizes = [recorder.size(ref, dim) for dim in range(recorder.rank(ref))]
    shape = [canonical_dimension(size.expression) if isinstance(size, Size) else size for size in sizes]
    return {"name": name, "dtype": recorder.dtype(ref), "shape": shape, "value": ref.name}


def check_equal(module: nn.Module, rebuilt: nn.Module, example_inputs: Sequence[torch.Tensor]) -> None:
    """Refuse a design that does not compute what the module does, in train and in eval mode, on the example inputs.

    A trace does not see an in-place change of an alias, or a branch on `self.training`.

    Raises:
        UnsupportedModuleError: the outputs differ, or the module cannot be run on its example inputs.
    """
    original = copy.deepcopy(module).cpu()
    rebuilt.load_state_dict(original.state_dict())
    for mode in (True, False):
        try:
            expected = _run(original.train(mode), example_inputs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UnsupportedModuleError(f"example_inputs: forward refuses them: {error}") from error
        found = _run(rebuilt.train(mode), example_inputs)
        if not all(torch.allclose(a, b, equal_nan=True) for a, b in zip(found, expected, strict=True)):
            text = "train" if mode else "eval"
            raise UnsupportedModuleError(f"forward: its trace computes something else in {text} mode; make it pure")


def _run(module: nn.Module, example_inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        found = module(*(tensor.detach().cpu().clone() for tensor in example_inputs))
    return found if isinstance(found, tuple) else (found,)
