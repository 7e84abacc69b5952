package main

import (
	"encoding/binary"
	"errors"
	"time"
)

const (
	varint = 0
	length = 2
)

// A ValidateTokenResponse whose rejection says TOKEN_INVALID.
var rejection = []byte{0x12, 0x02, 0x08, 0x01}

var kinds = map[string]uint64{"INSTANCE": 1, "API": 2}

// principal is what a ValidateTokenResponse tells of a live token.
type principal struct {
	workspaceID, tenantID, tokenID, kind string
	scopes                               []string
	incarnation                          int64
	expireTime                           *time.Time
}

func (p *principal) response() []byte {
	inner := make([]byte, 0, 192)
	inner = appendText(inner, 1, p.workspaceID)
	inner = appendText(inner, 2, p.tenantID)
	inner = appendText(inner, 3, p.tokenID)
	inner = appendNumber(inner, 4, kinds[p.kind])
	for _, scope := range p.scopes {
		inner = appendText(inner, 5, scope)
	}
	inner = appendNumber(inner, 6, uint64(p.incarnation))
	if p.expireTime != nil {
		moment := appendNumber(nil, 1, uint64(p.expireTime.Unix()))
		moment = appendNumber(moment, 2, uint64(p.expireTime.Nanosecond()))
		inner = appendText(inner, 7, string(moment))
	}
	return appendText(make([]byte, 0, len(inner)+4), 1, string(inner))
}

// readRequest finds token and workspace_id, fields 1 and 2 of a ValidateTokenRequest.
func readRequest(message []byte) (token, workspaceID []byte, err error) {
	malformed := errors.New("not a ValidateTokenRequest")
	for len(message) > 0 {
		key, size := binary.Uvarint(message)
		if size <= 0 {
			return nil, nil, malformed
		}
		value, more := binary.Uvarint(message[size:])
		if more <= 0 {
			return nil, nil, malformed
		}
		message = message[size+more:]
		switch key & 7 {
		case varint:
			continue
		case length:
		default:
			return nil, nil, malformed
		}
		if value > uint64(len(message)) {
			return nil, nil, malformed
		}
		switch key >> 3 {
		case 1:
			token = message[:value]
		case 2:
			workspaceID = message[:value]
		}
		message = message[value:]
	}
	return token, workspaceID, nil
}

func appendText(to []byte, field int, text string) []byte {
	to = append(to, byte(field<<3|length))
	to = appendVarint(to, uint64(len(text)))
	return append(to, text...)
}

// appendNumber leaves out zero, as proto3 does.
func appendNumber(to []byte, field int, number uint64) []byte {
	if number == 0 {
		return to
	}
	return appendVarint(append(to, byte(field<<3|varint)), number)
}

func appendVarint(to []byte, number uint64) []byte {
	var room [binary.MaxVarintLen64]byte
	return append(to, room[:binary.PutUvarint(room[:], number)]...)
}
