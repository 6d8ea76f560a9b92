"""HR sources: from what a vendor sends to leaver events."""
