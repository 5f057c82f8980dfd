"""Commands for users: they access the cloud API, and no cluster."""
