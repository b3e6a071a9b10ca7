"""What the thin half reads is data: nothing in it unpickles, evaluates or imports what a file says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import morph_kernels

SOURCES = sorted(Path(morph_kernels.__file__).parent.rglob("*.py"))
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {
    *("torch.load", "torch.export.load", "torch.jit.load", "torch.package.PackageImporter", "torch.hub.load"),
    *("torch._inductor.aoti_load_package", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"),
    # It unpacks into a temporary folder, and leaves that behind where loading fails.
    "torch._C._aoti.AOTIModelPackageLoader",
    *("numpy.load", "os.system", "__import__", "multiprocessing.reduction.ForkingPickler"),
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def forbidden(tree: ast.AST) -> Iterator[str]:
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {name.asname: name.name for name in node.names if name.asname}
            yield from (name.name for name in node.names if name.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            full = {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
            aliases |= full
            yield from (name for name in full.values() if name.split(".")[0] in MODULES or name in CALLS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = dotted(node.func).partition(".")
            name = ".".join(part for part in (aliases.get(first, first), rest) if part)
            if name in CALLS:
                yield name


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_module_of_the_thin_half_runs_nothing_that_a_file_holds(source):
    assert list(forbidden(ast.parse(source.read_text()))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.export.load('x')",
        "from torch.export import load\nload('x')",
        "from torch import load as read",
        "import numpy as np\nnp.load('x')",
        "eval('1')",
        "import torch\ntorch._C._aoti.AOTIModelPackageLoader('x')",
    ],
)
def test_the_search_finds_what_it_looks_for(text):
    assert list(forbidden(ast.parse(text)))
