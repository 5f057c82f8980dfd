"""The Kubernetes API: objects, leader election, Events, the watch."""
