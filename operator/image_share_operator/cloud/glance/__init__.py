"""Glance: image memberships and lists, one request for each."""
