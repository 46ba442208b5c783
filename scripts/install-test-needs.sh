#!/bin/sh
# Installs what the tests need and this machine lacks: a redis-server or valkey-server, python3, valgrind, and
# cargo-nextest.
#
# REDRIVE_TEST_SERVER=path   use this server, install none
# RUNNER=cargo               do without cargo-nextest
#
# Where it may not install, it prints the command to run by hand and exits 1.
set -eu

NEXTEST_VERSION=0.9.143
CARGO=${CARGO:-cargo}
POLICY=/usr/sbin/policy-rc.d
OUR_POLICY=
SUDO=

say() {
    echo "test needs: $*" >&2
}

has() {
    command -v "$1" >/dev/null 2>&1
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

has_server() {
    has redis-server || has valkey-server
}

# The command is printed as a whole, so that it can be copied.
by_hand() {
    say "$1"
    say "run this, then try again:"
    echo "    $2" >&2
    exit 1
}

# Sets SUDO, or ends with the command to run by hand: what is to be installed, and that command.
become_root() {
    if is_root; then
        return
    fi
    if has sudo && sudo -n true 2>/dev/null; then
        SUDO='sudo -n'
        return
    fi
    by_hand "installing $1 takes root, and sudo would ask for a password or is missing" "$2"
}

as_root() {
    # SUDO is empty or two words.
    # shellcheck disable=SC2086
    $SUDO "$@"
}

remove_policy() {
    if [ -n "$OUR_POLICY" ]; then
        as_root rm -f "$POLICY"
        OUR_POLICY=
    fi
}

# Debian starts a service as soon as its package is unpacked, unless this file says no (101).
forbid_services() {
    if [ -e "$POLICY" ]; then
        return
    fi
    # Before the file is there: an interruption in between must not leave it behind.
    OUR_POLICY=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

# A service that our installation enabled would start with the next boot, or runs already where a policy of
# somebody else's allowed it.
disable_service() {
    if has systemctl && [ -d /run/systemd/system ]; then
        as_root systemctl disable --now "$1" || say "could not disable the service $1"
    fi
}

with_apt() {
    hand='sudo apt-get update && sudo apt-get install -y redis-server'
    if [ -d /run/systemd/system ]; then
        hand="$hand && sudo systemctl disable --now redis-server"
    fi
    become_root 'a Redis server' "$hand"
    trap remove_policy EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    forbid_services
    apt='env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120'
    # shellcheck disable=SC2086
    as_root $apt update || say "apt-get update failed, trying with the lists at hand"
    # Debian has redis-server, and from 13 on valkey-server too.
    for package in redis-server valkey-server; do
        # shellcheck disable=SC2086
        if as_root $apt install -y --no-install-recommends "$package" </dev/null >&2; then
            disable_service "$package"
            break
        fi
    done
    remove_policy
    trap - EXIT HUP INT TERM
}

# Fedora and its relatives have redis or, since the licence changed, valkey; neither starts by itself.
with_dnf() {
    become_root 'a Redis server' 'sudo dnf install -y redis || sudo dnf install -y valkey'
    as_root dnf install -y redis >&2 || as_root dnf install -y valkey >&2
}

with_apk() {
    become_root 'a Redis server' 'sudo apk add redis || sudo apk add valkey'
    as_root apk add redis >&2 || as_root apk add valkey >&2
}

install_server() {
    say "no redis-server or valkey-server in PATH, installing one"
    if has apt-get; then
        with_apt
    elif has dnf; then
        with_dnf
    elif has apk; then
        with_apk
    elif has brew; then
        # Homebrew refuses to run as root and starts no service.
        brew install redis >&2
    else
        say "no apt-get, dnf, apk or brew here: install redis-server or valkey-server, or set"
        say "REDRIVE_TEST_SERVER to the path of one"
        exit 1
    fi
    if ! has_server; then
        say "the installation ended, but there is still no redis-server or valkey-server in PATH"
        exit 1
    fi
}

need_compiler() {
    if has cc || has gcc || has clang; then
        return
    fi
    hand='install gcc or clang with the package manager of this system'
    if has apt-get; then
        hand='sudo apt-get update && sudo apt-get install -y gcc libc6-dev'
    elif has dnf; then
        hand='sudo dnf install -y gcc'
    elif has apk; then
        hand='sudo apk add gcc musl-dev'
    elif has xcode-select; then
        hand='xcode-select --install'
    fi
    by_hand "there is no C compiler (cc, gcc or clang), which some dependencies are built with" "$hand"
}

need_server() {
    if [ -n "${REDRIVE_TEST_SERVER:-}" ]; then
        if [ -f "$REDRIVE_TEST_SERVER" ] && [ -x "$REDRIVE_TEST_SERVER" ]; then
            return
        fi
        say "REDRIVE_TEST_SERVER=$REDRIVE_TEST_SERVER is not an executable file"
        exit 1
    fi
    has_server || install_server
}

# Handlers in docs/handlers.md are written in it, and the tests run them.
need_python() {
    need_tool python3
}

# `make counts` counts instructions with it. The counts that are committed are of one system and machine; elsewhere it
# says that it does not count them.
need_valgrind() {
    if [ "$(uname -sm)" = 'Linux x86_64' ]; then
        need_tool valgrind
    fi
}

# A command that is in a package of the same name everywhere.
need_tool() {
    if has "$1"; then
        return
    fi
    say "no $1 in PATH, installing it"
    if has apt-get; then
        become_root "$1" "sudo apt-get update && sudo apt-get install -y $1"
        apt='env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120'
        # shellcheck disable=SC2086
        as_root $apt update || say "apt-get update failed, trying with the lists at hand"
        # shellcheck disable=SC2086
        as_root $apt install -y --no-install-recommends "$1" </dev/null >&2 || true
    elif has dnf; then
        become_root "$1" "sudo dnf install -y $1"
        as_root dnf install -y "$1" >&2 || true
    elif has apk; then
        become_root "$1" "sudo apk add $1"
        as_root apk add "$1" >&2 || true
    elif has brew; then
        brew install "$1" >&2 || true
    fi
    if ! has "$1"; then
        say "there is still no $1 in PATH: install it with the package manager of this system"
        exit 1
    fi
}

need_cargo_command() {
    if "$CARGO" "$1" --version >/dev/null 2>&1; then
        return
    fi
    if ! has rustup; then
        say "cargo $1 is missing, and there is no rustup to add it with: install the Rust component $2"
        exit 1
    fi
    say "adding the Rust component $2"
    rustup component add "$2" >&2
}

need_nextest() {
    if [ "${RUNNER:-nextest}" = cargo ] || "$CARGO" nextest --version >/dev/null 2>&1; then
        return
    fi
    say "installing cargo-nextest $NEXTEST_VERSION (RUNNER=cargo does without it)"
    "$CARGO" install cargo-nextest --locked --version "$NEXTEST_VERSION" >&2
}

need_compiler
need_server
need_python
need_valgrind
need_cargo_command fmt rustfmt
need_cargo_command clippy clippy
need_nextest
