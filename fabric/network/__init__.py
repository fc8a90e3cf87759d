"""Networks: the service behind the Networking API."""
