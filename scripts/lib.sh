# What the scripts share. Sourced, not run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# need PROGRAM-OR-TEST PACKAGE...: installs missing Debian packages where it may, else says what to run.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local run="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" = 0 ]; then
        say "Installing ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    elif sudo -n true 2>/dev/null; then
        say "Installing ${missing[*]}"
        sudo apt-get update -qq
        sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        fail "needs Debian packages; run as root: $run"
    fi
}

# Everything that building and running CAVS takes.
need_build() {
    command -v cargo >/dev/null || fail "needs a Rust toolchain (1.92 or later): cargo is not in PATH"
    command -v apt-get >/dev/null || return 0
    local packages=()
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || packages+=(postgresql)
    [ ${#packages[@]} -eq 0 ] || need_packages "${packages[@]}"
}

# need_cargo_tool PROGRAM CRATE VERSION
need_cargo_tool() {
    command -v "$1" >/dev/null && return
    say "Installing $2"
    cargo install --quiet --locked "$2" --version "$3"
}

# npm and node.js, for tools and clients of the protocol that there are for them only.
need_npm() {
    command -v npm >/dev/null && command -v node >/dev/null && return
    command -v apt-get >/dev/null || fail "needs node.js 18 or later, and npm"
    need_packages nodejs npm
}
