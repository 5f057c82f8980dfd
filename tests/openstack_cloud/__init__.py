"""A real Keystone and a real Glance on this machine, for tests. Never imports the operator."""

from openstack_cloud.cloud import OpenStackCloud

__all__ = ["OpenStackCloud"]
