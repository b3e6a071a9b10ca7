"""Reading a blueprint's document from an `nn.Module`: torch.fx with `torch.nn` leaves and a list of pure functions.

Not here: any rule. What is read goes through the same rules as an untrusted file.
"""

from morph_kernels.blueprint.capture.module import capture_document, check_equal

__all__ = ["capture_document", "check_equal"]
