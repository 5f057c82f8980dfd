"""Keystone: logins and the service catalog."""
