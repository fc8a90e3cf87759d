"""Nodes: how machines join the cloud and leave it, and what each of them may do."""
