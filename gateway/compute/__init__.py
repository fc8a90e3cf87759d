"""The Compute API v2.1 (Nova)."""
