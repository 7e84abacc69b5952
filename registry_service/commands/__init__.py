"""One file per use case, which decides and changes what it has to in one transaction."""
