#!/bin/sh
# Breaks one guarantee after another in a copy of the tree and sees that its test fails.
#
# Each file in scripts/sabotages/ is one: lines `guarantee:`, `breaks:`, `file:`, `tests:` (a filter
# of nextest, for tests in the package of the file), then the text to find, which must stand in that
# file exactly once, and what to put in its place, between the marks <<<<, ==== and >>>>. What is put
# there behaves as before unless SABOTAGED, which stands for "this sabotage is the one that is on". So
# all are built into one copy, once, and then switched on one by one. `sabotage.sh NAME…` runs only
# these.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
copy=$root/target/sabotage/tree
switch=$root/target/sabotage/switched-on
logs=$root/target/sabotage/logs
CARGO_TARGET_DIR=$root/target/sabotage/build
export CARGO_TARGET_DIR
: "${CARGO:=cargo}"

rm -rf "$copy.new" "$logs"
mkdir -p "$copy" "$copy.new" "$logs"
git ls-files -z --cached --others --exclude-standard | xargs -0 tar cf - | tar xmf - -C "$copy.new"

value() { sed -n "s/^$2: *//p" "$1" | head -n 1; }

# Replaces the one occurrence of a text by another, literally; fails if there is not exactly one.
replace() {
    awk -v sabotage="$1" -v switched="$3" '
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
            if (!gsub(/SABOTAGED/, switched, put)) { print "no SABOTAGED" > "/dev/stderr"; exit 1 }
            text = slurp(ARGV[1])
            at = index(text, find)
            if (find == "" || at == 0) { print "not found" > "/dev/stderr"; exit 1 }
            rest = substr(text, at + length(find))
            if (index(rest, find)) { print "found more than once" > "/dev/stderr"; exit 1 }
            printf "%s%s%s", substr(text, 1, at - 1), put, rest
        }' "$2"
}

# The same file in both copies keeps its time, so that only what has changed is built again.
settle() {
    (cd "$copy.new" && find . -type f) | while read -r file; do
        if ! cmp -s "$copy.new/$file" "$copy/$file"; then
            mkdir -p "$copy/$(dirname "$file")"
            # Written now: newer than any build of the one before.
            cat "$copy.new/$file" >"$copy/$file"
            [ ! -x "$copy.new/$file" ] || chmod +x "$copy/$file"
        fi
    done
    (cd "$copy" && find . -type f) | while read -r file; do
        [ -e "$copy.new/$file" ] || rm "$copy/$file"
    done
    rm -rf "$copy.new"
}

if [ $# -gt 0 ]; then
    names=$*
else
    names=$(cd scripts/sabotages && ls)
fi

for name in $names; do
    sabotage=scripts/sabotages/$name
    file=$(value "$sabotage" file)
    case $file in
        *.lua) switched="(SABOTAGE == '$name')" ;;
        *) switched="crate::sabotage::is_on(\"$name\")" ;;
    esac
    if ! replace "$sabotage" "$copy.new/$file" "$switched" >"$root/target/sabotage/broken"; then
        echo "$name does not fit $file any more"
        exit 1
    fi
    cat "$root/target/sabotage/broken" >"$copy.new/$file"
done

# The switch: a file, for the environment does not reach every process that a test starts.
for main in redrive/src/lib.rs redrive-cli/src/main.rs redrive-testkit/src/lib.rs; do
    cat >>"$copy.new/crates/$main" <<RUST

/// The switch of the sabotages.
#[allow(dead_code, reason = "not every crate is broken in the same ways")]
mod sabotage {
    pub(crate) fn which() -> &'static str {
        static WHICH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        WHICH.get_or_init(|| std::fs::read_to_string("$switch").unwrap_or_default())
    }
    pub(crate) fn is_on(name: &str) -> bool {
        which() == name
    }
    pub(crate) fn script(text: &str) -> String {
        format!("local SABOTAGE = '{}'\n{text}", which())
    }
}
RUST
done
# A script says which sabotage is on; the testkit, which knows a script by its hash, has to as well.
says_which() {
    sed "$2" "$copy.new/crates/$1" >"$root/target/sabotage/broken"
    if cmp -s "$root/target/sabotage/broken" "$copy.new/crates/$1"; then
        echo "the scripts cannot be switched in $1 any more"
        exit 1
    fi
    cat "$root/target/sabotage/broken" >"$copy.new/crates/$1"
}
says_which redrive/src/redis/scripts.rs \
    's|fn new(text: &str) -> Self {|&\n        let text = \&*crate::sabotage::script(text);|'
says_which redrive-testkit/src/scripts.rs \
    's|format!("{front}{text}")|crate::sabotage::script(\&&)|'
settle
cd "$copy"

# The tests of what is broken: those of the library, or of the binary.
run() {
    case $1 in
        crates/redrive/*) what="-p redrive --lib --test it" ;;
        *) what="-p redrive-cli" ;;
    esac
    # shellcheck disable=SC2086 # two or three words
    "$CARGO" nextest run -P sabotage $what --locked --fail-fast -E "$2"
}

echo "building, and seeing that the tests pass as long as nothing is broken"
: >"$switch"
for crate in crates/redrive/ crates/redrive-cli/; do
    all=
    for name in $names; do
        case $(value "$root/scripts/sabotages/$name" file) in
            "$crate"*) all="$all${all:+ + }($(value "$root/scripts/sabotages/$name" tests))" ;;
        esac
    done
    if [ -n "$all" ] && ! run "$crate" "$all" >"$logs/untouched" 2>&1; then
        tail -n 40 "$logs/untouched"
        echo "the tests fail without any sabotage: see target/sabotage/logs/untouched"
        exit 1
    fi
done

missed=0
printf '%-11s %-11s %s\n' guarantee result 'what was broken'
for name in $names; do
    sabotage=$root/scripts/sabotages/$name
    printf '%s' "$name" >"$switch"
    if run "$(value "$sabotage" file)" "$(value "$sabotage" tests)" >"$logs/$name" 2>&1; then
        result=NOT-SEEN
        missed=$((missed + 1))
    # 100: a test failed. Anything else says nothing of what was broken.
    elif ! grep -q 'FAIL\|TIMEOUT\|SIGABRT\|SIGKILL' "$logs/$name"; then
        result=NO-RUN
        missed=$((missed + 1))
    else
        result=caught
    fi
    printf '%-11s %-11s %s\n' "$(value "$sabotage" guarantee)" "$result" "$(value "$sabotage" breaks)"
done
: >"$switch"
if [ "$missed" -gt 0 ]; then
    echo "$missed not caught: see target/sabotage/logs"
    exit 1
fi
echo "$(echo "$names" | wc -w) broken, all seen"
