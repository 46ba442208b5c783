#!/bin/sh
# Runs the tests `fuzz_of_…` under libFuzzer: it chooses bytes by what code they reach, the tests make cases of them
# and hold these against their laws. One after the other; the first finding ends it.
#
# FUZZ_RUNS=1000000   cases for each test (default 10 M)
# FUZZ_OF=filters     only the tests with this in their names
#
# What reached new code is kept in target/fuzz-guided/corpus, and begun with the next time; what is found, in
# target/fuzz-guided/found. Beside Rust a C++ compiler is needed, for libFuzzer itself.
set -eu

CARGO=${CARGO:-cargo}
RUNS=${FUZZ_RUNS:-10000000}
ONLY=${FUZZ_OF:-}
HOUSE=target/fuzz-guided

say() {
    echo "fuzz: $*" >&2
}

if ! command -v "${CXX:-c++}" >/dev/null 2>&1; then
    say "libFuzzer is C++, and there is no ${CXX:-c++}"
    say "install a C++ compiler (Debian: apt-get install g++), or name it with CXX=…, then try again"
    exit 1
fi

# With --target the flags are for what is tested and for what it depends on, not for build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS='--cfg fuzzing_libfuzzer'
# What is reached is counted in our own crates alone: with all that they depend on libFuzzer looks through 700,000
# counters after each case.
export RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/fuzz-guided-rustc.sh"
# A test has a thread of its own, with 2 MiB.
export RUST_MIN_STACK=8388608

tests_of() {
    package=$1
    shift
    "$CARGO" test --profile fuzz --locked --target "$host" --target-dir "$HOUSE" -p "$package" "$@"
}

ran=0
for unit in 'redrive --lib' 'redrive-cli --bins' 'redrive-testkit --lib'; do
    # Two words.
    # shellcheck disable=SC2086
    set -- $unit
    tests_of "$@" --no-run
    names=$(tests_of "$@" --quiet "$ONLY" -- --list 2>/dev/null | sed -n 's/: test$//p' | grep 'fuzz_of_' || true)
    for name in $names; do
        corpus=$HOUSE/corpus/$name
        found=$HOUSE/found/$name
        mkdir -p "$corpus" "$found"
        log=$HOUSE/$name.log
        say "$name, $RUNS cases, log in $log"
        # A test begins in the folder of its crate.
        BOLERO_LIBFUZZER_ARGS="../../$corpus -artifact_prefix=../../$found/ -runs=$RUNS -max_len=256 -timeout=10"
        export BOLERO_LIBFUZZER_ARGS
        if ! tests_of "$@" --quiet "$name" -- --exact --nocapture >"$log" 2>&1; then
            tail -n 40 "$log" >&2
            say "$name failed; what did it is in $found"
            exit 1
        fi
        # Done is said by libFuzzer. A test whose cases are not read from bytes comes back by itself.
        if grep '^Done ' "$log" >&2; then
            grep 'DONE' "$log" >&2
            ran=$((ran + 1))
        else
            say "$name reads no bytes, so nothing guides it"
        fi
    done
done
if [ "$ran" -eq 0 ]; then
    say "no test fuzz_of_… that reads bytes has '$ONLY' in its name"
    exit 1
fi
say "$ran tests, $RUNS cases each: nothing found"
