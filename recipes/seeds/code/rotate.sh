#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Keep the last few logs: app.log becomes app.log.1.gz, and so on.
set -eu

log=${1:?usage: rotate.sh LOG [KEEP]}
keep=${2:-5}

[ -s "$log" ] || exit 0

n=$keep
while [ "$n" -gt 1 ]; do
    previous=$((n - 1))
    if [ -f "$log.$previous.gz" ]; then
        mv "$log.$previous.gz" "$log.$n.gz"
    fi
    n=$previous
done

cp "$log" "$log.1"
: > "$log"
gzip -f "$log.1"
