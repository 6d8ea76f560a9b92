"""The command line. Thin: it parses, calls, prints."""
