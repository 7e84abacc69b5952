package main

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

// Debian 12 has gRPC 1.33 on the protobuf runtime of before 2020, and a protoc-gen-go that makes messages for the one
// after it. Go modules bring versions that fit; here the newer runtime takes the older one's place.
type newerRuntime struct{}

func init() { encoding.RegisterCodec(newerRuntime{}) }

func (newerRuntime) Name() string { return "proto" }

func (newerRuntime) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (newerRuntime) Unmarshal(bytes []byte, message interface{}) error {
	return proto.Unmarshal(bytes, message.(proto.Message))
}
