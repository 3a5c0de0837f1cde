# SPDX-License-Identifier: Apache-2.0
# Sourced by ./demo and ./test: steps with a heading, and an end that leaves no process behind.

steps_program=$(basename "$0")
steps_child=

heading() {
    printf '\n== %s\n' "$*"
}

die() {
    echo "$steps_program: $*" >&2
    exit 1
}

# Runs a command in a process group of its own, so that an interrupt can end all of it.
run() {
    set -m
    "$@" </dev/null &
    steps_child=$!
    set +m
    local code=0
    wait "$steps_child" || code=$?
    steps_child=
    return "$code"
}

# Ctrl-C or SIGTERM: passes it on, gives the group time to clean up, and ends what is left of it.
stop() {
    trap '' INT TERM HUP
    # The interrupt may have come between the start of the child and the note of its pid.
    steps_child=${steps_child:-$(jobs -pr | tail -n 1)}
    if [ -n "$steps_child" ]; then
        kill -TERM -- "-$steps_child" 2>/dev/null || true
        for _ in $(seq 150); do
            kill -0 -- "-$steps_child" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$steps_child" 2>/dev/null || true
        wait "$steps_child" 2>/dev/null || true
    fi
    echo "$steps_program: stopped" >&2
    exit 130
}
trap stop INT TERM HUP

# configure PRESET: quiet when it works.
configure() {
    local log
    mkdir -p "build/$1" && [ -w "build/$1" ] ||
        die "build/$1 cannot be written by $(id -un); it belongs to $(stat -c %U "build/$1" 2>/dev/null || stat -c %U .)"
    log=build/$1/configure.log
    run cmake --preset "$1" >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; die "configuring the preset $1 failed; all of it is in $log"; }
    echo "configured build/$1"
}

# build PRESET TARGET...
build() {
    local preset=$1
    shift
    NINJA_STATUS="  $preset [%f/%t, %es] " run cmake --build "build/$preset" -j "$(nproc)" --target "$@" ||
        die "building $* with the preset $preset failed; the compiler's words are above"
}
