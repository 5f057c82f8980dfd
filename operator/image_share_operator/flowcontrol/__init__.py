"""Rate limits, fairness and backoff, without knowledge of what they limit."""
