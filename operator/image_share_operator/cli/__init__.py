"""The command-line side for people: knows the cloud, and no cluster."""
