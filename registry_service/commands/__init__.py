"""One file per use case; each decides and changes within one transaction."""
