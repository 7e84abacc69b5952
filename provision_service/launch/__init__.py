"""ProvisionWorkspace and what follows it: claim, decide, begin, deliver, observe, complete."""
