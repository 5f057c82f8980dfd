"""IMS: image memberships, batches, jobs, lists."""
