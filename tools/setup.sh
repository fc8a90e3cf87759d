#!/usr/bin/env bash
# tools/setup.sh [runtime|dev]: make this machine and .venv able to run (dev: also to test) this checkout.
# Idempotent; well under a second when nothing is missing. Needs root only where Debian packages are missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
level=${1:-runtime}
case $level in runtime | dev) ;; *) sed -n 2,3p "$0" >&2; exit 2 ;; esac
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
log=build/setup.log
mkdir -p build

# step TITLE COMMAND...: the title, then how long it took; the command's output goes to the log and, when it fails, its end is shown.
step() {
    local title=$1 start=$SECONDS pid
    shift
    printf '== %s\n' "$title" | tee -a "$log"
    "$@" >> "$log" 2>&1 < /dev/null &
    pid=$!
    while kill -0 "$pid" 2> /dev/null; do
        sleep 0.2
        (((SECONDS - start) % 15 || SECONDS == ${told:-0} || SECONDS == start)) || {
            told=$SECONDS
            printf '   ... %d s: %s\n' $((SECONDS - start)) "$(tail -n 1 "$log" | cut -c1-90)"
        }
    done
    wait "$pid" || {
        printf '== %s: failed; the end of %s:\n' "$title" "$log" >&2
        tail -n 30 "$log" >&2
        return 1
    }
    printf '   done in %d s\n' $((SECONDS - start))
}

wanted_packages() {
    local lists=(packaging/debian-packages.txt)
    [ "$level" = runtime ] || lists+=(packaging/debian-packages-dev.txt)
    sed 's/#.*//' "${lists[@]}" | xargs -n 1
    [ "$level" = runtime ] || command -v npm > /dev/null || printf 'nodejs\nnpm\n'
}

# Where nothing manages services a package must not try to start its own. Elsewhere only Debian's etcd service is refused:
# fabricctl runs the etcd of this cloud.
without_service_starts() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    if [ -d /run/systemd/system ]; then
        printf '#!/bin/sh\n[ "$1" != etcd ] || exit 101\n' > "$policy"
    else
        printf '#!/bin/sh\nexit 101\n' > "$policy"
    fi
    chmod 755 "$policy"
    "$@" || status=$?
    rm -f "$policy"
    return $status
}

install_packages() {
    local options=(-o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold -y --no-install-recommends)
    export DEBIAN_FRONTEND=noninteractive
    without_service_starts apt-get install "${options[@]}" "$@" && return
    apt-get update && without_service_starts apt-get install "${options[@]}" "$@"
}

missing_packages() {
    local names
    command -v dpkg-query > /dev/null || {
        echo "this is not Debian: install the equivalents of packaging/debian-packages*.txt yourself" >&2
        return
    }
    mapfile -t names < <(wanted_packages)
    comm -23 <(printf '%s\n' "${names[@]}" | sort -u) \
        <(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "${names[@]}" 2> /dev/null | sed -n 's/^ii  *//p' | sort -u)
}

# libvirt's QEMU driver does not start without the account that it was built for, though our guests run as root. Only the
# package libvirt-daemon-system makes it, and that brings a system-wide libvirtd with it.
accounts() {
    local name=libvirt-qemu
    getent passwd "$name" > /dev/null && getent group "$name" > /dev/null && return
    if [ "$(id -u)" != 0 ]; then
        echo "missing account; as root: groupadd --system $name; useradd --system --gid $name $name" >&2
        return
    fi
    getent group "$name" > /dev/null || groupadd --system "$name"
    getent passwd "$name" > /dev/null ||
        useradd --system --gid "$name" --no-create-home --home-dir /var/lib/libvirt --shell /usr/sbin/nologin "$name"
}

# What .venv needs comes first, so that the rest can be installed beside the Python packages.
packages_then_python() {
    local missing first="" rest="" installing="" name
    missing=$(missing_packages)
    for name in $missing; do
        case $name in
            python3* | gcc | libc6-dev | pkg-config | libvirt-dev) first+=" $name" ;;
            *) rest+=" $name" ;;
        esac
    done
    if [ -n "$missing" ] && [ "$(id -u)" != 0 ]; then
        echo "missing Debian packages; as root: apt-get install --no-install-recommends" $missing >&2
        return 1
    fi
    [ -z "$first" ] || step "installing Debian packages:$first" install_packages $first
    if [ -n "$rest" ]; then
        (log=build/setup-packages.log && step "installing Debian packages, meanwhile:$rest" install_packages $rest) &
        installing=$!
    fi
    python_packages
    [ -z "$installing" ] || wait "$installing"
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null &&
            { command -v "$candidate"; return; }
    done
    echo "no Python of version 3.11 or later with venv" >&2
    return 1
}

python_packages() {
    local extras="" digest stamp=.venv/.fabric-$level
    [ "$level" = runtime ] || extras="[dev]"
    digest=$(cat pyproject.toml tools/setup.sh | sha256sum)
    if [ "$(cat "$stamp" 2> /dev/null)" != "$digest" ]; then
        [ -x .venv/bin/python ] || step "making .venv" "$(find_python)" -m venv .venv
        # The build back end in .venv itself, so that pip does not make an environment of its own for it.
        step "installing the build tools into .venv" .venv/bin/pip install --progress-bar off $(build_tools)
        PATH=$PWD/.venv/bin:$PATH step "installing the Python packages into .venv" \
            .venv/bin/pip install --progress-bar off --no-build-isolation -e ".$extras"
        echo "$digest" > "$stamp"
        [ "$level" = runtime ] || cp "$stamp" .venv/.fabric-runtime
    fi
}

build_tools() {
    sed -n '/^\[build-system\]/,/^$/s/^requires = //p' pyproject.toml | tr -d '[]" ' | tr ',' '\n' |
        awk '/^[a-z]/ { if (line) print line; line = $0; next } { line = line "," $0 } END { print line }'
    echo setuptools wheel # libvirt-python's back end
}

generated_code() {
    local stamp=build/protoc.stamp
    if [ ! -e "$stamp" ] || [ -n "$(find proto tools/protoc.py -newer "$stamp" -print -quit)" ] ||
        [ ! -e fabric/type/v1/meta_pb2.py ]; then
        PATH=$PWD/.venv/bin:$PATH step "generating code from proto/" .venv/bin/python tools/protoc.py
        touch "$stamp"
    fi
}

buf() {
    local wanted=1.75.0
    [ "$(sed -n 's/^ *"version": "\(.*\)".*/\1/p' node_modules/@bufbuild/buf/package.json 2> /dev/null)" = "$wanted" ] ||
        step "installing buf $wanted" npm install --no-save --no-package-lock --no-fund --no-audit "@bufbuild/buf@$wanted"
}

packages_then_python
accounts
generated_code
[ "$level" = runtime ] || buf
