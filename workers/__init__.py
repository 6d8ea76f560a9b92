"""The worker processes: which role polls which queue with which activities."""
