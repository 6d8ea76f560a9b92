"""Anchors outside the operator's reach: timestamps, witnesses, write-once stores, and the publisher."""
