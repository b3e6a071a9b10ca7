"""Importing the evaluator is cheap, and its child stays as thin as what runs in training."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("morph_assets.evaluation", {"torch", "pandas", "great_expectations", "numpy", "dagster"}),
        ("morph_assets.evaluation.library_suite", {"torch", "pandas", "great_expectations", "numpy", "dagster"}),
        (
            "morph_assets.evaluation.child, morph_assets.evaluation.exercise, morph_assets.evaluation.resources",
            {"dagster", "pandas", "great_expectations", "sqlalchemy", "psycopg", "torch._inductor"},
        ),
    ],
)
def test_importing_it_does_not_import_what_is_heavy(module, forbidden):
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not forbidden & set(loaded.stdout.split())
