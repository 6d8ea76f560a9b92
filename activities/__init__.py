"""The activities: contracts for the workflow, one class per system for the workers."""
