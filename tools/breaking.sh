#!/usr/bin/env bash
# tools/breaking.sh: buf breaking against the main branch (on the main branch itself: its previous commit).
# Skips where there is no earlier contract to break: no git, a shallow clone, the first commit with a proto/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PWD/node_modules/.bin:$PATH

baseline() {
    local main head
    head=$(git rev-parse --verify -q HEAD) || return 0
    for name in origin/main main origin/master master; do
        main=$(git rev-parse --verify -q "$name^{commit}") && break
    done
    [ -n "${main:-}" ] && [ "$main" != "$head" ] || main=$(git rev-parse --verify -q 'HEAD^') || return 0
    git merge-base "$main" HEAD || return 0
}

base=$(baseline)
if [ -z "$base" ] || [ -z "$(git ls-tree --name-only "$base" proto/ 2> /dev/null)" ]; then
    echo "buf breaking: no earlier contract to compare with"
    exit 0
fi
earlier=$(mktemp -d)
trap 'rm -rf "$earlier"' EXIT
git archive "$base" proto buf.yaml | tar -x -C "$earlier"
buf breaking --against "$earlier"
echo "buf breaking: compatible with $(git log -1 --format=%h "$base")"
