#!/usr/bin/env bash
# Write requirements.lock from pyproject.toml: exact versions with hashes, of run-time and development dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${1:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pip-tools
# No index, find-links or host line: whoever installs brings their own.
"$work/venv/bin/pip-compile" --quiet --upgrade --extra dev --generate-hashes --allow-unsafe --strip-extras \
    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
    --output-file "$work/lock" pyproject.toml
{
    echo "# Exact versions and hashes of what Wherry needs to run and to be developed. Written by \`make lock\`; do not edit."
    grep -v -e '^ *$' -e '^#' "$work/lock"
} >requirements.lock
