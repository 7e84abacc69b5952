"""Use cases: one file each, named after its RPC, in one transaction each."""
