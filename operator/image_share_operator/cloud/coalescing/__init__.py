"""Makes one request serve many resources: batches, job polling, membership lookup."""
