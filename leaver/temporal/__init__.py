"""How we use Temporal: encryption of payloads and failures, connection, history export."""
