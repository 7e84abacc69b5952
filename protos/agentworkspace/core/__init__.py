"""Words that every part shares: secrets, ids, tokens, refusals, addresses. Plain Python."""
