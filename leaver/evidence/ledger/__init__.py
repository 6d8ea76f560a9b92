"""The ledger: records, their Merkle tree, checkpoints and anchors in SQLite or PostgreSQL."""
