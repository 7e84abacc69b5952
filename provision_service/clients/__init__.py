"""What the service asks of others: the registry, name servers, and the vendors' endpoints."""
