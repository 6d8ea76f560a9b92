"""Logs without personal data, metrics, traces."""
