"""The checks of a deployed stack, step by step as the runbook (docs/runbook.md)."""
