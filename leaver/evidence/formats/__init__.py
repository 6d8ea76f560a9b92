"""Formats for other tools, and the control map: OSCAL, OCSF. Pure: records in, bytes out."""
