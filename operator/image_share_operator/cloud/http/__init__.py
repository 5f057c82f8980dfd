"""One HTTP request to the cloud: transport, limits, circuit breaker, error mapping."""
