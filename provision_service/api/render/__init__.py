"""Results of commands to messages; no rule is applied on the way."""
