"""Every op by its name, and the bare `parameter`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from morph_kernels.blueprint.limits import MAX_DIMENSION
from morph_kernels.blueprint.ops import kinds
from morph_kernels.blueprint.ops.functions import FUNCTIONS
from morph_kernels.blueprint.ops.modules import MODULES, ZEROS
from morph_kernels.blueprint.ops.shaping import SHAPING
from morph_kernels.blueprint.ops.spec import Attributes, Op, Slot, Value

PARAMETER: Final = "parameter"
GETITEM: Final = "getitem"


def _infer_parameter(_: Sequence[Value], a: Attributes) -> Value:
    return Value("float32", a["sizes"])


_PARAMETER: Final = Op(
    PARAMETER,
    _infer_parameter,
    (0, 0),
    attributes={"sizes": kinds.integers(1, MAX_DIMENSION, fewest=0)},
    # The slot has no name of its own: the node's id is the whole state_dict key.
    parameters=lambda a: (Slot("", a["sizes"], ZEROS),),
)

OPS: Final[Mapping[str, Op]] = MappingProxyType({op.name: op for op in (*MODULES, *FUNCTIONS, *SHAPING, _PARAMETER)})
