"""The custom resource and what goes wrong, as types. No I/O, no clock."""
