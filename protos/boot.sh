#!/bin/sh
# The life of a box with nothing but a POSIX shell, the usual tools and a gRPC command line client.
#
#   WORKSPACE_ID, WORKSPACE_REGISTRY_ADDRESS       always
#   WORKSPACE_INCARNATION, WORKSPACE_BOOTSTRAP_TICKET, WORKSPACE_REGISTRY_CA    as the launch gave them
#   WORKSPACE_STATE_FILE   for a token that cannot be derived; default $HOME/.agentworkspace-box
#   RPC_CLIENT             grpcurl or buf; default: whichever is there
#   BOOT_RUNTIME           what to say that runs here; plain text without quotes
#   BOOT_BEATS             end after so many good heartbeats; default: never
#
# Exit status: 0 after BOOT_BEATS, 1 when something is missing, 3 when the registry said STOP.
#
# No secret is ever an argument of a process, where every user of the machine could read it: the
# shell's own printf writes them to pipes (`printf` is a builtin of every POSIX shell), the client
# takes bodies on standard input, and the bearer from standard input (buf) or from the environment
# of that one process (grpcurl). That is why the HMAC is computed from sha256sum: the tools that
# know HMAC want the key as an argument.

set -u
umask 077

BOXES=agentworkspace.registry.v1.RegistrationService

# --- bytes and hex ------------------------------------------------------------------------------

fail() { printf 'boot: %s\n' "$1" >&2; exit 1; }
say() { printf 'boot: %s\n' "$1" >&2; }

if command -v sha256sum > /dev/null; then
    sha256() { sha256sum | cut -c 1-64; }
else
    sha256() { shasum -a 256 | cut -c 1-64; }
fi

to_hex() { od -An -v -tx1 | tr -d ' \n'; }

# Hex digits and a mask, to octal escapes that printf turns into the bytes, each xor the mask.
escapes() {
    _hex=$1 _out=
    while [ -n "$_hex" ]; do
        _rest=${_hex#??}
        _byte=$((0x${_hex%"$_rest"} ^ $2))
        _out="$_out\\$((_byte / 64))$((_byte / 8 % 8))$((_byte % 8))"
        _hex=$_rest
    done
    printf '%s' "$_out"
}

# shellcheck disable=SC2059 # the escapes are the format
bytes() { printf "$(escapes "$1" "$2")"; }

ZEROS=0000000000000000000000000000000000000000000000000000000000000000

# HMAC-SHA256 with a key of 32 bytes in hex and a text, as hex.
hmac() {
    _inner=$({ bytes "$1$ZEROS" 0x36; printf '%s' "$2"; } | sha256)
    { bytes "$1$ZEROS" 0x5c; bytes "$_inner" 0; } | sha256
}

# --- tokens -------------------------------------------------------------------------------------

sha256_of() { printf '%s' "$1" | sha256; }

# CRC-32 of a text as 6 base62 digits. gzip ends with the CRC-32 of what it packed.
checksum() {
    # shellcheck disable=SC2046 # four numbers
    set -- $(printf '%s' "$1" | gzip -c | tail -c 8 | od -An -v -tu1)
    _crc=$(($1 + $2 * 256 + $3 * 65536 + $4 * 16777216)) _digits=
    for _digit in 1 2 3 4 5 6; do
        _at=$((_crc % 62)) _crc=$((_crc / 62))
        _tail=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz
        while [ "$_at" -gt 0 ]; do _tail=${_tail#?} _at=$((_at - 1)); done
        _digits=${_tail%"${_tail#?}"}$_digits
    done
    printf '%s' "$_digits"
}

# An instance token of 32 bytes in hex.
assemble() {
    _body=awi_$(bytes "$1" 0 | base64 | tr '/+' '_-' | tr -d '=\n')
    printf '%s%s' "$_body" "$(checksum "$_body")"
}

# The token that belongs to this launch: the same one, however often it is computed.
derived_token() {
    _payload=${ticket#awt_}
    _payload=${_payload%??????}
    _key=$(printf '%s=' "$_payload" | tr '_-' '/+' | base64 -d | to_hex)
    assemble "$(hmac "$_key" "agentworkspace/instance/v1/$WORKSPACE_ID/$WORKSPACE_INCARNATION")"
}

random_token() { assemble "$(head -c 32 /dev/urandom | to_hex)"; }

# The same secret is the same registration: its id is made from the hash, so it need not be kept.
request_id_of() {
    _h=$(printf 'request %s' "$(sha256_of "$1")" | sha256)
    printf '%s-%s-4%s-8%s-%s' "$(part 1-8)" "$(part 9-12)" "$(part 13-15)" "$(part 16-18)" \
        "$(part 19-30)"
}

part() { printf '%s' "$_h" | cut -c "$1"; }

# --- what a restart must find again -------------------------------------------------------------

# Three lines: of which ticket (its hash), the token, and the one it followed.
remember() {
    mkdir -p "$(dirname "$STATE_FILE")" || return 1
    printf '%s\n%s\n%s\n' "$LAUNCH" "$token" "$evidence" > "$STATE_FILE.new" || return 1
    mv -f "$STATE_FILE.new" "$STATE_FILE"
}

recall() {
    [ -r "$STATE_FILE" ] || return 1
    { read -r _launch && read -r _token && read -r _evidence; } < "$STATE_FILE" || return 1
    # What an earlier launch left behind is not used.
    [ "$LAUNCH" = none ] || [ "$_launch" = "$LAUNCH" ] || return 1
    token=$_token evidence=$_evidence
}

fresh() {
    token=$(random_token)
    # Kept before the first call with it, or a lost answer would lock the box out.
    delay=1
    until remember; do say "cannot write $STATE_FILE"; back_off; done
}

# --- calls --------------------------------------------------------------------------------------

# call_CLIENT METHOD BEARER, the body on standard input.
call_grpcurl() {
    (
        export BOOT_BEARER="$2"
        # shellcheck disable=SC2016 # grpcurl expands it
        exec grpcurl ${PLAIN:+-plaintext} ${CA_FILE:+-cacert "$CA_FILE"} -v -max-time 10 \
            -expand-headers -H 'authorization: Bearer ${BOOT_BEARER}' \
            -d @ "$ADDRESS" "$BOXES/$1"
    )
}

call_buf() {
    { printf 'authorization: Bearer %s\n\n' "$2"; cat; } |
        buf curl ${PLAIN:+--http2-prior-knowledge} ${CA_FILE:+--cacert "$CA_FILE"} -v \
            --timeout 10s --protocol grpc --header @- --data @- "$SCHEME://$ADDRESS/$BOXES/$1"
}

# call METHOD BEARER BODY: sets answer, reason and recovery; true when the call succeeded.
# With -v both clients also print the bearer: the answer is looked at, and never shown.
call() {
    _status=0
    answer=$(printf '%s' "$3" | "call_$RPC_CLIENT" "$1" "$2" 2>&1) || _status=$?
    reason=$(trailer agentworkspace-reason)
    recovery=$(trailer agentworkspace-recovery)
    return "$_status"
}

trailer() {
    printf '%s\n' "$answer" | tr 'A-Z' 'a-z' |
        sed -n "s/^\\(buf: < (#[0-9]*) \\)\\{0,1\\}$1: *\\([a-z0-9_]*\\).*/\\2/p" |
        tail -n 1 | tr 'a-z' 'A-Z'
}

field() { printf '%s\n' "$answer" | sed -n "s/.*\"$1\": *\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }

# --- waiting ------------------------------------------------------------------------------------

# Doubles from 1 second to 60, half of it by chance.
back_off() {
    _chance=$(head -c 2 /dev/urandom | od -An -v -tu2 | tr -d ' \n')
    sleep $((delay / 2 + _chance % (delay - delay / 2 + 1)))
    delay=$((delay * 2))
    [ "$delay" -le 60 ] || delay=60
}

stop_if_told() {
    [ "$recovery" != STOP ] || { say "told to stop: $reason"; exit 3; }
}

# --- the life of a box --------------------------------------------------------------------------

registration() {
    printf '{"workspace_id": "%s", "bootstrap_ticket": "%s", ' "$WORKSPACE_ID" "$ticket"
    printf '"token_sha256": "%s", ' "$(sha256_of "$token")"
    printf '"request_id": "%s", "runtime": "%s"}' "$(request_id_of "$token")" "${BOOT_RUNTIME:-}"
}

register() {
    delay=1 bearer=${evidence:-$token}
    until call Register "$bearer" "$(registration)"; do
        stop_if_told
        say "not admitted: ${reason:-no answer}"
        if [ "$reason" = ERROR_REASON_TOKEN_HASH_IN_USE ]; then
            # The evidence was good, the new secret was not: that hash had its life already.
            evidence=$bearer
            fresh
        else
            case $recovery in
            REGISTER | RELAUNCH)
                # Perhaps the newer secret is a token already, and only its answer was lost.
                if [ "$bearer" = "$token" ]; then bearer=${evidence:-$token}; else bearer=$token; fi
                ;;
            esac
        fi
        back_off
    done
    interval=$(field heartbeatInterval)
    interval=${interval%s}
    say "registered: $(field outcome)"
    if [ -n "$evidence" ]; then evidence=; remember || say "cannot write $STATE_FILE"; fi
}

# Until it is time to register again.
beat() {
    delay=1
    while :; do
        if call Heartbeat "$token" "{\"workspace_id\": \"$WORKSPACE_ID\"}"; then
            delay=1
            case $(field nextAction) in
            NEXT_ACTION_STOP) recovery=STOP reason=NEXT_ACTION_STOP; stop_if_told ;;
            NEXT_ACTION_REGISTER) return ;;
            esac
            beats=$((beats + 1))
            [ "$beats" != "${BOOT_BEATS:-}" ] || exit 0
            sleep "${interval:-30}"
        else
            stop_if_told
            say "heartbeat failed: ${reason:-no answer}"
            case $recovery in REGISTER | RELAUNCH) return ;; esac
            back_off
        fi
    done
}

prepare() {
    [ -n "${WORKSPACE_ID:-}" ] || fail "WORKSPACE_ID is not set"
    [ -n "${WORKSPACE_REGISTRY_ADDRESS:-}" ] || fail "WORKSPACE_REGISTRY_ADDRESS is not set"
    if [ -z "${RPC_CLIENT:-}" ]; then
        RPC_CLIENT=grpcurl
        command -v grpcurl > /dev/null || RPC_CLIENT=buf
    fi
    command -v "$RPC_CLIENT" > /dev/null || fail "neither grpcurl nor buf is there"
    STATE_FILE=${WORKSPACE_STATE_FILE:-$HOME/.agentworkspace-box}
    ADDRESS=${WORKSPACE_REGISTRY_ADDRESS#https://}
    SCHEME=https PLAIN='' CA_FILE=''
    case ${WORKSPACE_REGISTRY_CA:-} in
    *-----BEGIN*)
        CA_FILE=$STATE_FILE.ca
        mkdir -p "$(dirname "$CA_FILE")" && printf '%s\n' "$WORKSPACE_REGISTRY_CA" > "$CA_FILE"
        ;;
    '') [ "$ADDRESS" != "$WORKSPACE_REGISTRY_ADDRESS" ] || SCHEME=http PLAIN=yes ;;
    *) CA_FILE=$WORKSPACE_REGISTRY_CA ;;
    esac
    # No tool that is started from here on has any business with the ticket.
    ticket=${WORKSPACE_BOOTSTRAP_TICKET:-}
    unset WORKSPACE_BOOTSTRAP_TICKET
    LAUNCH=none
    [ -z "$ticket" ] || LAUNCH=$(sha256_of "$ticket")
}

main() {
    prepare
    if ! recall; then
        evidence=''
        if [ -n "$ticket" ] && [ -n "${WORKSPACE_INCARNATION:-}" ]; then
            token=$(derived_token)
        else
            fresh
        fi
    fi
    beats=0
    while :; do
        register
        beat
        sleep 1
    done
}

# Sourced under another name it only lends its functions.
case ${0##*/} in boot.sh) main ;; esac
