"""The bounds of a blueprint. Blueprints are attack input: each bound is checked before the work it bounds."""

MAX_SOURCE_BYTES = 128 * 1024
MAX_DEPTH = 8
MAX_ELEMENTS = 20_000  # scalars, lists and mappings in one source
MAX_NODES = 512
MAX_INTERFACE_TENSORS = 8
MAX_SYMBOLS = 8
MAX_TAGS = 16
MAX_RANK = 8
MAX_OPERANDS = 16
MAX_DIMENSION = 2**20
MAX_TENSOR_ELEMENTS = 2**31  # of any value, at the largest declared sizes
MAX_PARAMETER_BYTES = 2**30
MAX_EXPRESSION_CHARS = 64
MAX_IDENTIFIER_CHARS = 128
