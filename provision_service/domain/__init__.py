"""Pure rules of the launch: no grpc, SQL, protobuf, clock, randomness or network in here."""
