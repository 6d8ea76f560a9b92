"""Deterministic orchestration: imports temporalio, the activity contracts and the domain, nothing else."""
