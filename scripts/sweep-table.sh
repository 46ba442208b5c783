#!/bin/sh
# Runs the sweep, and puts what each kill led to into docs/guarantees.md, between its two marks.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
page=docs/guarantees.md
table=$(mktemp)
trap 'rm -f "$table" "$page.new"' EXIT

REDRIVE_SWEEP_TABLE=$table "$cargo" nextest run --locked -p redrive-chaos --run-ignored only \
    --no-capture -E 'test(every_command_sweep)'
awk -v table="$table" '
    /^<!-- sweep: begin/ { print; while ((getline line < table) > 0) print line; skip = 1; next }
    /^<!-- sweep: end/ { skip = 0 }
    !skip { print }
' "$page" > "$page.new"
mv "$page.new" "$page"
