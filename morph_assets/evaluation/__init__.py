"""Judges a built kernel: numerics, resources, tags, and a pure verdict; and the library as a whole.

Not here: building, signing, recording or publishing it.
"""

from morph_assets.evaluation.evaluate import DEFAULT_LIMITS, Evaluation, WrongHostError, evaluate_kernel
from morph_assets.evaluation.measured import Failure, Measured
from morph_assets.evaluation.policy import EvaluationPolicy
from morph_assets.evaluation.report import Measurement
from morph_assets.evaluation.verdict import Failed, Passed, Verdict, plan_risk, plan_verdict

__all__ = [
    "DEFAULT_LIMITS",
    "Evaluation",
    "EvaluationPolicy",
    "Failed",
    "Failure",
    "Measured",
    "Measurement",
    "Passed",
    "Verdict",
    "WrongHostError",
    "evaluate_kernel",
    "plan_risk",
    "plan_verdict",
]
