"""What importing the loader costs a training process beside its own modules."""

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import gc, json, sys, traceback
import morph_kernels, torch
{before}
collected = []
# The package itself, and then one of its modules.
nested = lambda: [frame.name for frame in traceback.extract_stack()].count("exec_module") > 1
gc.callbacks.append(lambda *_: collected.append(nested()))
{imports}
found = {{"while_importing": any(collected), "enabled": gc.isenabled(), "yaml": "yaml" in sys.modules}}
sys.stdout.write(json.dumps(found))
"""


@pytest.mark.parametrize(("before", "enabled"), [("", True), ("gc.disable()", False)])
@pytest.mark.parametrize(
    "imports",
    [
        "from morph_kernels import Blueprint, KernelLoader",
        "from morph_kernels.loader import KernelLoader",
        "from morph_kernels.checkpoint import Checkpointer",
        "from morph_kernels.loader.loader import RedisTier; RedisTier('redis://127.0.0.1:1', tenant='a')._connect()",
    ],
)
def test_the_collector_does_not_search_torch_for_our_imports_and_is_left_as_it_was(before, enabled, imports):
    program = _PROGRAM.format(before=before, imports=imports)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"while_importing": False, "enabled": enabled, "yaml": False}
