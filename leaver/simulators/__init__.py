"""Stateful stand-ins that speak the vendors' real wire protocols on loopback, faults included.

Connectors cannot tell them from the real systems; nothing here is imported by product code.
"""
