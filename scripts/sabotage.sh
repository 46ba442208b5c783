#!/bin/sh
# Breaks one guarantee after another in a copy of the tree and sees that its test fails.
#
# Each file in scripts/sabotages/ is one: lines `guarantee:`, `breaks:`, `file:`, `tests:` (a filter
# of nextest, for tests within the library, or in the package of the file), then the text to find, which must stand in that file exactly once, and what to put in
# its place, between the marks <<<<, ==== and >>>>. `sabotage.sh NAME…` runs only these.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
copy=$root/target/sabotage/tree
CARGO_TARGET_DIR=$root/target/sabotage/build
export CARGO_TARGET_DIR
: "${CARGO:=cargo}"

rm -rf "$copy"
mkdir -p "$copy"
# Not the times of the files: what is copied later must look newer than what was built before.
git ls-files -z --cached --others --exclude-standard | xargs -0 tar cf - | tar xmf - -C "$copy"
cd "$copy"

value() { sed -n "s/^$2: *//p" "$1" | head -n 1; }

# Replaces the one occurrence of a text by another, literally; fails if there is not exactly one.
replace() {
    awk -v sabotage="$1" '
        function slurp(file,   text, line) {
            while ((getline line < file) > 0) text = text line "\n"
            close(file)
            return text
        }
        BEGIN {
            part = 0
            while ((getline line < sabotage) > 0) {
                if (line == "<<<<") { part = 1; continue }
                if (line == "====" && part == 1) { part = 2; continue }
                if (line == ">>>>") { part = 0; continue }
                if (part == 1) find = find line "\n"
                if (part == 2) put = put line "\n"
            }
            text = slurp(ARGV[1])
            at = index(text, find)
            if (find == "" || at == 0) { print "not found" > "/dev/stderr"; exit 1 }
            rest = substr(text, at + length(find))
            if (index(rest, find)) { print "found more than once" > "/dev/stderr"; exit 1 }
            printf "%s%s%s", substr(text, 1, at - 1), put, rest
        }' "$2"
}

# The tests of what is broken: those within the library, where nothing else has to be built each
# time, or all of the binary's.
run() {
    case $1 in
        crates/redrive/*) what="-p redrive --lib" ;;
        *) what="-p redrive-cli" ;;
    esac
    # shellcheck disable=SC2086 # two or three words
    "$CARGO" nextest run -P sabotage $what --locked --fail-fast -E "$2"
}

if [ $# -gt 0 ]; then
    names=$*
else
    names=$(cd scripts/sabotages && ls)
fi

echo "building, and seeing that the tests pass as long as nothing is broken"
for crate in crates/redrive/ crates/redrive-cli/; do
    all=
    for name in $names; do
        case $(value "scripts/sabotages/$name" file) in
            "$crate"*) all="$all${all:+ + }($(value "scripts/sabotages/$name" tests))" ;;
        esac
    done
    if [ -n "$all" ] && ! run "$crate" "$all" >"$root/target/sabotage/untouched.log" 2>&1; then
        tail -n 40 "$root/target/sabotage/untouched.log"
        echo "the tests fail without any sabotage: see target/sabotage/untouched.log"
        exit 1
    fi
done

missed=0
printf '%-11s %-11s %s\n' guarantee result 'what was broken'
for name in $names; do
    sabotage=scripts/sabotages/$name
    file=$(value "$sabotage" file)
    cp "$file" "$root/target/sabotage/whole"
    if ! replace "$sabotage" "$root/target/sabotage/whole" >"$file"; then
        echo "$name does not fit $file any more"
        exit 1
    fi
    log=$root/target/sabotage/$name.log
    if run "$file" "$(value "$sabotage" tests)" >"$log" 2>&1; then
        result=NOT-SEEN
        missed=$((missed + 1))
    elif grep -q 'error: could not compile' "$log"; then
        result=NO-BUILD
        missed=$((missed + 1))
    else
        result=caught
    fi
    printf '%-11s %-11s %s\n' "$(value "$sabotage" guarantee)" "$result" "$(value "$sabotage" breaks)"
    # Written anew and not moved back: its time must be newer than the broken build.
    cat "$root/target/sabotage/whole" >"$file"
done
if [ "$missed" -gt 0 ]; then
    echo "$missed not caught: see target/sabotage/*.log"
    exit 1
fi
