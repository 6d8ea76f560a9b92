"""Clients of the target systems: one package per vendor, one Protocol per activity class."""
