"""What the registry does unasked. Each task survives every fault and stops on request."""
