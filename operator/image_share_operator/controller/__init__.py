"""Carries decisions out: one reconcile per object at a time."""
