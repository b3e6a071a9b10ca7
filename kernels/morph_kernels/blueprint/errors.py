"""Why a blueprint is refused: one line that names the place and what is allowed there."""

from morph_kernels.errors import MorphError


class BlueprintError(MorphError):
    """A blueprint that cannot be used. Not retryable: the same bytes are refused again."""


class BlueprintMalformedError(BlueprintError):
    """The bytes are not the restricted yaml, or not the canonical JSON, that a blueprint is written in."""


class BlueprintTooLargeError(BlueprintError):
    """A blueprint beyond one of the bounds on bytes, depth, nodes, dimensions or parameter bytes."""


class BlueprintRuleError(BlueprintError):
    """A value that the rules of the IR refuse: unknown key or op, bad name, wrong type, forward reference."""


class BlueprintShapeError(BlueprintError):
    """A node, or a declared output, whose shape or dtype does not fit."""


class UnsupportedModuleError(BlueprintError):
    """An `nn.Module` that says something the IR cannot say."""
