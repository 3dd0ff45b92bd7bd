#!/usr/bin/env bash
# Get a criu that works here, without touching the system's libraries, and print its path.
#   tools/criu.sh [DIR]   DIR: where it is put (default: /opt/wherry/criu)
# criu 3.17, which Debian 12 has, ends on newer kernels with "Unexpected rt vDSO area bounds", and criu 4.1 fails at any network socket
# on Linux 6.16 and newer. So criu and the libraries that it wants are taken from newer Debian suites, unpacked into DIR,
# and run by DIR/criu with their own dynamic linker. Root is needed.
set -euo pipefail

say() { echo "criu: $*" >&2; }
die() { say "$*"; exit 1; }

#: The first that gives a criu which works.
suites=(forky trixie)

works() { command -v "$1" >/dev/null && "$1" check >/dev/null 2>&1; }

# What runs: a criu of the system's, or one that was got before.
dir=$(realpath -m "${1:-/opt/wherry/criu}")
[ "$(id -u)" = 0 ] || die "not root: criu itself needs root, too"
for candidate in criu "$dir/criu"; do
    if works "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

command -v apt-get >/dev/null || die "no working criu on PATH, and no apt-get to get one with: install criu 4.1 or newer"
case $(dpkg --print-architecture) in
    amd64) linker=ld-linux-x86-64.so.2 ;;
    arm64) linker=ld-linux-aarch64.so.1 ;;
    *) die "only amd64 and arm64 are known here: install criu 4.1 or newer" ;;
esac

# The mirror that this machine uses already; both forms of apt's sources.
find_mirror() {
    # Not all of these files are there.
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        sed -n -e 's/^deb \(\[[^]]*\] \)\?\([^ ]*\/debian\/\?\) .*/\2/p' -e 's/^URIs: *\([^ ]*\/debian\/\?\)\( .*\)\?$/\1/p' | head -n 1
}

mirror=$(find_mirror)
[ -n "$mirror" ] || die "no Debian mirror in /etc/apt: install criu 4.1 or newer"
mkdir -p "$dir"
work=$(mktemp -d "$dir/.get-XXXXXX")
trap 'rm -rf "$work"' EXIT

# Unpack criu of a suite, with all that it depends on, into $work/root.
unpack() {
    local suite=$1 packages
    rm -rf "$work"/*
    mkdir -p "$work/lists/partial" "$work/cache/partial" "$work/root"
    echo "deb $mirror $suite main" >"$work/sources.list"
    local options=(
        -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o Dir::State::Status=/dev/null -o "Dir::Cache=$work/cache"
        -o APT::Sandbox::User=root
    )
    apt-get "${options[@]}" -qq update >&2 || return
    packages=$(apt-get "${options[@]}" -qq --no-install-recommends --simulate install criu |
        sed -n 's/^Inst \([^ ]*\).*/\1/p') || return
    # shellcheck disable=SC2086 # one word each
    (cd "$work" && apt-get "${options[@]}" -qq download $packages >&2) || return
    for package in "$work"/*.deb; do
        dpkg -x "$package" "$work/root" || return
    done
}

for suite in "${suites[@]}"; do
    say "unpacking criu of Debian's $suite into $dir"
    unpack "$suite" || { say "that failed"; continue; }
    library=$(dirname "$(find "$work/root/usr/lib" -name libc.so.6 -print -quit)")
    library=${library#"$work/root"}
    cat >"$work/criu" <<WRAPPER
#!/bin/sh
# Made by Wherry's tools/criu.sh.
exec "$dir/root$library/$linker" --library-path "$dir/root$library" "$dir/root/usr/sbin/criu" "\$@"
WRAPPER
    chmod 755 "$work/criu"
    rm -rf "$dir/root" "$dir/criu"
    mv "$work/root" "$dir/root"
    mv "$work/criu" "$dir/criu"
    if "$dir/criu" check >&2; then
        echo "$dir/criu"
        exit 0
    fi
    say "$("$dir/criu" --version | head -n 1) does not suit this kernel; the lines above say why"
done
exit 1
