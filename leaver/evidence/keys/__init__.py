"""The keys that sign evidence: in files or in a key management service, and their rotation."""
