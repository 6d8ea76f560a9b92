"""Evidence: records, ledger, bundles, verification, reports."""
