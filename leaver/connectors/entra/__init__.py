"""Entra ID over Microsoft Graph."""
