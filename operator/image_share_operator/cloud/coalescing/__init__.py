"""Combines the requests of many resources: batches, job polling, membership lookup."""
