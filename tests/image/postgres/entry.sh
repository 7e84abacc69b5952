# What the image of PostgreSQL does at its first start, as far as compose.yaml counts on it.
set -eu
data=/var/lib/postgresql/data
if [ ! -e "$data/PG_VERSION" ]; then
    initdb --pgdata "$data" --username postgres --auth-local trust --auth-host "$POSTGRES_HOST_AUTH_METHOD"
    # On its socket only, until roles and databases are there.
    pg_ctl --pgdata "$data" --wait --options "-c listen_addresses= -k /tmp" start
    for file in /docker-entrypoint-initdb.d/*.sql; do
        psql --host /tmp --username postgres --set ON_ERROR_STOP=1 --file "$file"
    done
    pg_ctl --pgdata "$data" --wait stop
    echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >>"$data/pg_hba.conf"
fi
exec postgres -D "$data" -c "listen_addresses=*" -c unix_socket_directories=/tmp
