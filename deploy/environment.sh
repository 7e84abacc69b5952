# Sourced by run and test: the checkout's own virtual environment, made and filled when needed.
#
# Needs bash and a Python 3.11 or newer, nothing else. The environment is filled once for each lock
# file that is wanted and each state of them; after that it costs a few milliseconds.

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv="$root/.venv"
lock="$root/.venv.lock"
# The exact packages with their hashes, written by deploy/lock.py.
pins="$root/deploy/locks"

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

# ready_environment NAME: the environment holds the project and what deploy/locks/NAME.txt pins.
ready_environment() {
    local wanted
    # The place belongs to it: an environment that was moved does not work.
    wanted="$(cat "$root/pyproject.toml" "$pins"/*.txt | cksum) $root"
    is_installed "$1" "$wanted" && return
    take_lock
    # Another run may have done it while this one waited.
    if ! is_installed "$1" "$wanted"; then
        [ -x "$venv/bin/python" ] && [ -e "$venv/.created" ] || create_environment
        install_project "$1"
        printf '%s' "$wanted" >"$venv/.installed-$1"
    fi
    drop_lock
}

# What the tests need includes all the rest.
is_installed() {
    [ -x "$venv/bin/python" ] || return
    [ "$(cat "$venv/.installed-$1" 2>/dev/null)" = "$2" ] ||
        [ "$(cat "$venv/.installed-test" 2>/dev/null)" = "$2" ]
}

install_project() {
    local started=$SECONDS
    say "── Installing what deploy/locks/$1.txt pins into .venv (the first time this takes a minute)"
    # What builds comes first: nothing is built by a program that has no hash here.
    install_with_pip --require-hashes -r "$pins/build.txt"
    install_with_pip --require-hashes --no-build-isolation -r "$pins/$1.txt"
    install_with_pip --no-deps --no-build-isolation --editable "$root"
    say "── Installed in $((SECONDS - started)) s"
}

# One line for each package as it comes; errors pass unchanged.
install_with_pip() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off "$@" |
        sed -n -e 's/^Collecting \([^ ]*\).*/   \1/p' -e 's|^Processing .*/\([^/ ]*\.whl\).*|   \1|p' \
            -e '/^Building/s/^/   /p' -e 's/^Installing collected packages:.*/   unpacking …/p' >&2 ||
        fail "The installation failed; pip's own message stands above."
}

create_environment() {
    local python
    python=$(find_python) || fail "Python 3.11 or newer is needed, and was not found on PATH." \
        "On Debian 12 or Ubuntu 24.04: apt-get install python3 python3-venv"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv_module "$python"
    say "── Making a virtual environment in .venv with $("$python" --version)"
    rm -rf -- "$venv"
    "$python" -m venv "$venv" || fail "$python -m venv failed; its message stands above."
    touch "$venv/.created"
}

# The first Python that is new enough and really starts: a shim on PATH may have nothing behind it.
find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Debian keeps `venv` in a package of its own.
install_venv_module() {
    local package
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        fail "$1 has no module 'venv', which is needed to make an environment of our own." \
            "On Debian or Ubuntu: sudo apt-get install $package"
    fi
    say "── $1 has no module 'venv': installing $package with apt-get"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "$package"; } >/dev/null || fail "apt-get could not install $package."
}

# One at a time. A directory is made atomically everywhere; flock(1) is not everywhere.
take_lock() {
    local owner told=
    until mkdir -- "$lock" 2>/dev/null; do
        owner=$(cat "$lock/pid" 2>/dev/null || true)
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            # Left by a run that was killed. Only one waiter can rename it away.
            mv -- "$lock" "$lock.stale.$$" 2>/dev/null && rm -rf -- "$lock.stale.$$"
            continue
        fi
        [ -n "$told" ] || say "── Waiting for another run that is installing (process ${owner:-?})"
        told=yes
        sleep 0.2
    done
    trap drop_lock EXIT
    printf '%s' "$$" >"$lock/pid"
}

drop_lock() {
    rm -rf -- "$lock"
    trap - EXIT
}
