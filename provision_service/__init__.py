"""provision_service: the launch, from a workspace's spec to the exact environment of its box."""
