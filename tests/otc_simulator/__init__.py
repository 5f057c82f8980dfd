"""A simulated Open Telekom Cloud: IAM and IMS as far as image sharing needs them.

A server of its own, spoken to over HTTP only. It never imports the operator: a shared parser
would repeat the same misreading on both sides.
"""
