"""What runs inside the build sandbox: reads a request, writes two libraries and how to call them."""

import json
import os
import resource
import shutil
import sys
from pathlib import Path

from morph_kernels.compile import headers
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.sandbox import INPUT, OUTPUT, SCRATCH

REQUEST = "request.json"
BLUEPRINT = "blueprint.json"
RESULT = "result.json"
KEEP_HEADERS = "MORPH_KEEP_HEADERS"


def main() -> int:
    """Build what `/morph/in` asks for; a refusal is a result too."""
    request = json.loads((INPUT / REQUEST).read_bytes())
    headers.link_headers()
    try:
        document = _build(request)
    except CompileError as error:
        document = {"refused": str(error)}
    document["cpu_s"] = _cpu_s()
    if os.environ.get(KEEP_HEADERS):
        headers.copy_headers_out()
    # The result last: without it, whatever lies in the folder counts as nothing.
    (OUTPUT / RESULT).write_text(json.dumps(document), encoding="utf-8")
    return 0


def _build(request: dict[str, object]) -> dict[str, object]:
    from morph_kernels.artifact.target import Target
    from morph_kernels.blueprint import Blueprint
    from morph_kernels.compile.build import build_libraries

    blueprint = Blueprint.from_bytes((INPUT / BLUEPRINT).read_bytes(), name=str(request["name"]))
    target = Target.from_document(request["target"])
    built = build_libraries(blueprint, target, pipeline=str(request["pipeline"]), folder=Path(SCRATCH) / "build")
    shutil.copyfile(built.forward, OUTPUT / "forward.so")
    shutil.copyfile(built.backward, OUTPUT / "backward.so")
    return {
        "convention": built.convention.to_document(),
        "trace_s": built.trace_s,
        "forward_s": built.forward_s,
        "backward_s": built.backward_s,
    }


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of the compilers it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    sys.exit(main())
