"""Temporal's histories as evidence: sealed exactly, run by run, before the server forgets them."""
