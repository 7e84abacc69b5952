"""The registry's background work: everything that no call starts."""
