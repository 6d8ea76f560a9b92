"""The embedded stack: everything in one command on one machine."""
