"""Compute: servers, flavors, keypairs, and the nodes that servers run on."""
