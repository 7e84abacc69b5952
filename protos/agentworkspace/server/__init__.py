"""What stands in front of a service's methods: the edge, callers, limits, metrics, listeners."""
