// What a user would write instead: a gRPC service in Go on the registry's own tables. ValidateToken
// is one SELECT and one UPDATE, each a commit of its own; Heartbeat one UPDATE; a first Register
// four statements in one transaction. No audit, no table of rules, no proxy token.
//
// Settings come from the environment, where other users of the machine cannot read them:
//
//	COMPARE_LISTEN         host:port
//	COMPARE_DATABASE_URL   as libpq understands it
//	COMPARE_POOL           connections to the database
//	COMPARE_BEARER_SHA256  64 hex digits, of the one caller that is let in
package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const selectToken = `
SELECT t.token_id::text, t.workspace_id::text, w.tenant_id, t.kind, t.scopes, t.incarnation,
       t.expire_time
FROM registry.tokens t JOIN registry.workspaces w USING (workspace_id)
WHERE t.token_sha256 = $1 AND t.kind <> 'TICKET' AND w.retire_time IS NULL
    AND t.revoke_time IS NULL AND (t.expire_time IS NULL OR t.expire_time > clock_timestamp())`

const updateLastUse = `
UPDATE registry.tokens SET last_use_time = clock_timestamp() WHERE token_sha256 = $1`

type service struct {
	pool         *pgxpool.Pool
	bearerSHA256 []byte
}

// validate answers a request as it came off the wire with an answer as it goes there.
func (s *service) validate(ctx context.Context, request []byte) ([]byte, error) {
	if !s.isCaller(ctx) {
		return nil, status.Error(codes.Unauthenticated, "bearer rejected")
	}
	fields, err := read(request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	digest := sha256.Sum256([]byte(fields.text[1]))
	var found principal
	err = s.pool.QueryRow(ctx, selectToken, digest[:]).Scan(
		&found.tokenID, &found.workspaceID, &found.tenantID, &found.kind, &found.scopes,
		&found.incarnation, &found.expireTime)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && found.workspaceID != fields.text[2] {
		return rejection, nil
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, "the database cannot be asked")
	}
	if _, err = s.pool.Exec(ctx, updateLastUse, digest[:]); err != nil {
		return nil, status.Error(codes.Unavailable, "the use cannot be written")
	}
	return found.response(), nil
}

func (s *service) isCaller(ctx context.Context) bool {
	digest := sha256.Sum256([]byte(bearer(ctx)))
	return subtle.ConstantTimeCompare(digest[:], s.bearerSHA256) == 1
}

func bearer(ctx context.Context) string {
	headers, _ := metadata.FromIncomingContext(ctx)
	for _, header := range headers["authorization"] {
		return strings.TrimPrefix(header, "Bearer ")
	}
	return ""
}

// raw hands bytes through: reading one field by hand costs less than generated messages would.
type raw struct{}

func (raw) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = data
	return nil
}
func (raw) String() string { return "proto" }

type answer func(s *service, ctx context.Context, request []byte) ([]byte, error)

func method(name string, answer answer) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(
		s interface{}, ctx context.Context, decode func(interface{}) error,
		_ grpc.UnaryServerInterceptor,
	) (interface{}, error) {
		var request []byte
		if err := decode(&request); err != nil {
			return nil, err
		}
		response, err := answer(s.(*service), ctx, request)
		return &response, err
	}}
}

var tokenService = grpc.ServiceDesc{
	ServiceName: "agentworkspace.registry.v1.TokenService",
	HandlerType: (*interface{})(nil),
	Methods:     []grpc.MethodDesc{method("ValidateToken", (*service).validate)},
}

var registrationService = grpc.ServiceDesc{
	ServiceName: "agentworkspace.registry.v1.RegistrationService",
	HandlerType: (*interface{})(nil),
	Methods: []grpc.MethodDesc{
		method("Heartbeat", (*service).heartbeat),
		method("Register", (*service).register),
	},
}

func main() {
	caller, err := hex.DecodeString(os.Getenv("COMPARE_BEARER_SHA256"))
	if err != nil || len(caller) != sha256.Size {
		log.Fatal("COMPARE_BEARER_SHA256: 64 hex digits are needed")
	}
	size, err := strconv.Atoi(os.Getenv("COMPARE_POOL"))
	if err != nil || size < 1 {
		log.Fatal("COMPARE_POOL: a number is needed")
	}
	settings, err := pgxpool.ParseConfig(os.Getenv("COMPARE_DATABASE_URL"))
	if err != nil {
		log.Fatal("COMPARE_DATABASE_URL: not understood") // the error may quote a password
	}
	settings.MinConns, settings.MaxConns = int32(size), int32(size)
	starting, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	pool, err := pgxpool.ConnectConfig(starting, settings)
	cancel()
	if err != nil {
		log.Fatal("the database does not answer")
	}
	defer pool.Close()
	listener, err := net.Listen("tcp", os.Getenv("COMPARE_LISTEN"))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.CustomCodec(raw{}))
	served := &service{pool, caller}
	server.RegisterService(&tokenService, served)
	server.RegisterService(&registrationService, served)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
