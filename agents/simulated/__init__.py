"""Many nodes in one process, for tests of scale."""
