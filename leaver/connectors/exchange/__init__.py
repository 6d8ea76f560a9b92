"""Exchange Online over its admin endpoint."""
