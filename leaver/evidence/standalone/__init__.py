"""Programs that are copied into bundles and run there without leaver."""
