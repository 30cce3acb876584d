"""Checks a deployed stack, step by step as the runbook: `python -m smoke --stack NAME`.

The steps are functions that yield checks (`preflight`, `scratch`, `deployed`, `validate`, `egress`, `coldstart`);
`diagnose` and `measure` are pure and work on objects as the API server gives them.
"""

from smoke.checks import Cause, Check, SmokeError, Status, all_hold
from smoke.diagnosis import Case, diagnose
from smoke.kube import KubeApi
from smoke.stack import Model, read_outputs, select
from smoke.timeline import ColdStart, measure

__all__ = [
    "Case",
    "Cause",
    "Check",
    "ColdStart",
    "KubeApi",
    "Model",
    "SmokeError",
    "Status",
    "all_hold",
    "diagnose",
    "measure",
    "read_outputs",
    "select",
]
