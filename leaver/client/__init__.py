"""The typed façade over cases: start, decide, ask. Everything is validated before Temporal sees it."""
