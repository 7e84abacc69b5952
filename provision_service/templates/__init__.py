"""What an operator declares about kinds of workspaces: defaults, required names, probes."""
