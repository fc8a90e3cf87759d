"""The fabric: an infrastructure cloud behind the OpenStack APIs."""
