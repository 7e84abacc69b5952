"""What every part shares: secrets, ids, tokens, refusals, addresses. Standard library only."""
