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

// most is above every field that is looked at.
const most = 16

// fields are the texts and the numbers of a message, by field.
type fields struct {
	text   [most]string
	number [most]uint64
}

func read(message []byte) (found fields, err error) {
	malformed := errors.New("not a request")
	for len(message) > 0 {
		key, size := binary.Uvarint(message)
		if size <= 0 {
			return found, malformed
		}
		value, more := binary.Uvarint(message[size:])
		if more <= 0 {
			return found, malformed
		}
		message = message[size+more:]
		field := key >> 3
		switch {
		case key&7 == varint && field < most:
			found.number[field] = value
		case key&7 == varint:
		case key&7 != length || value > uint64(len(message)):
			return found, malformed
		default:
			if field < most {
				found.text[field] = string(message[:value])
			}
			message = message[value:]
		}
	}
	return found, nil
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
