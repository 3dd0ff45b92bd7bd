#!/usr/bin/env bash
# Set up this machine for Wherry, saying what is done. Quick when everything is there.
#   tools/host.sh venv [PYTHON]   a Python >= 3.11 that can make virtual environments
#   tools/host.sh runtime PYTHON  an OCI runtime that works: crun, else runc
#   tools/host.sh tests           what the tests need: crun, runc, busybox, openssl, ip, cgroup controllers for crun
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "host: $*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# PATH of an ordinary user, and of some CI systems, lacks the directories where runc lies on Debian.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Print packages by the names they have here. Arguments: names as Debian has them.
translate() {
    local name
    for name in "$@"; do
        case $manager:$name in
            apt-get:* | apk:busybox-static) echo "$name" ;;
            *:busybox-static) echo busybox ;;
            dnf:iproute2) echo iproute ;;
            *:python3*-venv) ;; # elsewhere venv is part of Python
            *) echo "$name" ;;
        esac
    done
}

find_manager() {
    for manager in apt-get dnf apk pacman zypper; do
        have "$manager" && return 0
    done
    manager=""
    return 1
}

updated=""
# Install packages; fail when the package manager does.
install() {
    find_manager || die "install these yourself, no known package manager is here: $*"
    local packages
    mapfile -t packages < <(translate "$@")
    [ "${#packages[@]}" -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "not root; install these: sudo $manager install ${packages[*]}"
    say "installing ${packages[*]} with $manager"
    case $manager in
        apt-get)
            if [ -z "$updated" ]; then
                apt-get update -qq >&2 || say "apt-get update failed; going on with the lists that are here"
                updated=yes
            fi
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
            ;;
        dnf) dnf install -y -q "${packages[@]}" >&2 ;;
        apk) apk add --quiet "${packages[@]}" >&2 ;;
        pacman) pacman -Sy --noconfirm --needed "${packages[@]}" >&2 ;;
        zypper) zypper --non-interactive --quiet install "${packages[@]}" >&2 ;;
    esac
}

need_venv() {
    local python=${1:-python3} version
    have "$python" || die "$python is not on PATH: install Python 3.11 or newer"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$python is Python $version: Wherry needs 3.11 or newer (make PYTHON=...)"
    # Debian splits ensurepip off; without it a virtual environment has no pip.
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    install "python$version-venv" || install python3-venv
    "$python" -c 'import ensurepip, venv' || die "$python still cannot make virtual environments"
}

# Argument: a Python with Wherry in it. A runtime that is there may still refuse this host (see mount_controllers).
need_runtime() {
    if ! have crun && ! have runc; then
        say "no OCI runtime is on PATH"
        install crun || install runc || die "neither crun nor runc could be installed"
    fi
    [ "$(id -u)" = 0 ] && [ -n "${1:-}" ] || return 0
    local problem name
    for name in crun runc ""; do
        problem=$("$1" tools/runtimes.py 2>&1 >/dev/null) && return
        if [ -n "$name" ] && ! have "$name"; then
            say "$problem"
            install "$name" || say "$name could not be installed"
        fi
    done
    say "$problem"
    [ -z "$(cat /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null)" ] ||
        say "\`tools/host.sh tests\` mounts the controllers that are left to cgroup version 2, which crun asks for"
    exit 1
}

need_tests() {
    local missing=()
    have crun || missing+=(crun)
    have runc || missing+=(runc)
    have busybox || missing+=(busybox-static)
    have openssl || missing+=(openssl)
    have ip || missing+=(iproute2)
    [ "${#missing[@]}" = 0 ] || install "${missing[@]}"
    [ "$(id -u)" = 0 ] && mount_controllers
    [ "$(id -u)" != 0 ] || tools/criu.sh >/dev/null || say "checkpoints cannot be tested here"
    return 0
}

# On a hybrid cgroup host crun refuses to work as long as the version 2 side keeps controllers
# (libcrun: "cgroups in hybrid mode not supported, drop all controllers from cgroupv2").
mount_controllers() {
    local list=/sys/fs/cgroup/unified/cgroup.controllers name
    [ -r "$list" ] || return 0
    for name in $(cat "$list"); do
        say "mounting the cgroup controller $name as version 1: crun refuses a hybrid host otherwise"
        mkdir -p "/sys/fs/cgroup/$name"
        mount -t cgroup -o "$name" "$name" "/sys/fs/cgroup/$name" || say "cannot mount $name; crun will not work here"
    done
}

case ${1:-} in
    venv) need_venv "${2:-}" ;;
    runtime) need_runtime "${2:-}" ;;
    tests) need_tests ;;
    *) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
