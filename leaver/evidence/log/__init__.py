"""The log's formats: Merkle tree, signed notes, checkpoints, proofs. Pure: no input, no output, no clock."""
