"""What surrounds kopf's watch: which events and list items need a reconcile."""
