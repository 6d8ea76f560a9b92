"""leaver: removes a departing person's access everywhere, promptly, and proves it."""

__version__ = "0.1.0"
