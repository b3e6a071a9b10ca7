"""What the documents say is there, is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INVARIANTS = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
SHORT = {
    "B": "tests/integration/test_backup_and_restore.py",
    "BC": "tests/integration/test_backup_contents.py",
    "H": "tests/faults/test_loader_hostile.py",
    "T": "tests/faults/test_audit_tampering.py",
    "HI": "tests/faults/test_loader_hostile_index.py",
    "HV": "tests/faults/test_loader_vouching.py",
    **{
        path.stem.removeprefix("test_registry_"): str(path.relative_to(ROOT))
        for path in (ROOT / "tests" / "integration").glob("test_registry_*.py")
    },
}


def named_tests():
    """Yield (file, test name or None) for every test that the invariants name."""
    last = ""
    for token in re.findall(r"`([^`\n]+)`", INVARIANTS):
        path, separator, name = token.partition("::")
        if "*" in path:
            continue
        if not separator and not (path.startswith(("tests/", "test_")) and path.endswith(".py")):
            continue
        path = SHORT.get(path, path) or last
        path = path if path.startswith("tests/") else f"tests/integration/{path}"
        last = path
        yield path, name.partition("[")[0]


@pytest.mark.parametrize(("path", "name"), sorted(set(named_tests())))
def test_every_test_that_an_invariant_names_exists(path, name):
    text = (ROOT / path).read_text(encoding="utf-8")
    ending = name.removeprefix("...")
    assert re.search(rf"def {'' if ending == name else 'test_.*'}{ending}\b", text) if name else text


def test_every_link_of_the_documents_leads_somewhere():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"
