"""The words of the trade as frozen models and pure functions: no I/O, no clock, no randomness.

Everything here may run inside a Temporal workflow, so time and identifiers are always passed in.
"""
