"""Identity of agent workspaces: tokens, registration, incarnations, liveness."""
