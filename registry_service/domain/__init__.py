"""Pure rules: no gRPC, no SQL, no protobuf, no clock, no randomness."""
