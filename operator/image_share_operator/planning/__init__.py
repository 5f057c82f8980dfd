"""Decisions, pure: from the desired state, the observation and the time to the next step."""
