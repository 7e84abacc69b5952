package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/jackc/pgx/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// One statement is the check of the token and the write.
const updateHeartbeat = `
UPDATE registry.registrations r
SET state = 'ONLINE', last_heartbeat_time = clock_timestamp(), active_tasks = $3
FROM registry.tokens t
WHERE t.token_sha256 = $1 AND t.workspace_id = $2::uuid AND t.kind = 'INSTANCE'
    AND t.revoke_time IS NULL AND r.workspace_id = t.workspace_id`

const selectTicket = `
SELECT t.token_id::text, t.incarnation FROM registry.tokens t
JOIN registry.workspaces w USING (workspace_id)
WHERE t.token_sha256 = $1 AND t.workspace_id = $2::uuid AND t.kind = 'TICKET'
    AND t.first_use_time IS NULL AND t.revoke_time IS NULL AND w.retire_time IS NULL
FOR UPDATE OF w, t`

const insertToken = `
INSERT INTO registry.tokens
    (workspace_id, kind, token_sha256, incarnation, create_time, outcome, minted_on, client_made,
     created_by)
VALUES ($1::uuid, 'INSTANCE', $2, $3, clock_timestamp(), 'ADMITTED', $4::uuid, true, 'bench')`

const redeemTicket = `
UPDATE registry.tokens SET first_use_time = clock_timestamp(), last_use_time = clock_timestamp()
WHERE token_id = $1::uuid`

const arrive = `
UPDATE registry.registrations
SET state = 'ONLINE', incarnation = $2, register_time = clock_timestamp(),
    last_heartbeat_time = clock_timestamp()
WHERE workspace_id = $1::uuid`

func (s *service) heartbeat(ctx context.Context, request []byte) ([]byte, error) {
	fields, err := read(request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	digest := sha256.Sum256([]byte(bearer(ctx)))
	done, err := s.pool.Exec(ctx, updateHeartbeat, digest[:], fields.text[1], fields.number[2])
	if err != nil {
		return nil, status.Error(codes.Unavailable, "the heartbeat cannot be written")
	}
	if done.RowsAffected() != 1 {
		return nil, status.Error(codes.Unauthenticated, "token rejected")
	}
	return nil, nil
}

// register lets a box in by its ticket: four statements, one commit.
func (s *service) register(ctx context.Context, request []byte) ([]byte, error) {
	fields, err := read(request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	made, err := hex.DecodeString(fields.text[3])
	if err != nil || len(made) != sha256.Size {
		return nil, status.Error(codes.InvalidArgument, "token_sha256")
	}
	digest := sha256.Sum256([]byte(fields.text[2]))
	err = s.pool.BeginFunc(ctx, func(tx pgx.Tx) error {
		return redeem(ctx, tx, fields.text[1], digest[:], made)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, status.Error(codes.PermissionDenied, "ticket rejected")
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, "the register cannot be written")
	}
	return nil, nil
}

func redeem(ctx context.Context, tx pgx.Tx, workspaceID string, digest, made []byte) error {
	var ticketID string
	var incarnation int64
	err := tx.QueryRow(ctx, selectTicket, digest, workspaceID).Scan(&ticketID, &incarnation)
	if err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, insertToken, workspaceID, made, incarnation, ticketID); err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, redeemTicket, ticketID); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, arrive, workspaceID, incarnation)
	return err
}
