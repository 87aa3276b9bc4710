#!/usr/bin/env bash
# Runs all tests, and installs what they need on a Debian 12 that has Rust.
#
#   tests/run.sh [quick|full|lab]     default: quick
#
# quick is what every change has to pass. full sets QPMUX_TEST_TIER=full and runs the long tests
# too, those marked #[ignore] included. Every step runs, also after a failure; the last line sums
# up, and the exit status is 0 only if nothing failed. lab runs real RDMA stacks in virtual machines
# instead (tests/lab/README.md): it needs root and QEMU, and names what is missing.
# QPMUX_EXTRA_CAPTURES may name a folder with more captures. QPMUX_NO_INSTALL=1 leaves the system as
# it is: what is missing then fails.

set -uo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

tier=${1:-quick}
case $tier in
quick | full | lab) ;;
*)
    echo "usage: tests/run.sh [quick|full|lab]" >&2
    exit 2
    ;;
esac

export CI=true CARGO_TERM_COLOR=never DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1
export QPMUX_TEST_TIER=$tier
# Nothing here is built twice: what incremental builds keep would take more room than all else.
export CARGO_INCREMENTAL=0
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

readonly CARGO_DENY=0.20.2
readonly PYARROW=26.0.1
readonly SKIPPED=77
# What cargo builds for all steps, in KiB, and some reserve.
readonly ROOM_KIB=$((12 << 20))
# With DPDK; what is built without it is part of that. Two words.
readonly LIVE="--features qpmux-live/dpdk"
passed=0 failed=() skipped=() begin=$SECONDS

# step NAME COMMAND..: runs a step under a heading, with its time. Status 77 means skipped.
step() {
    local name=$1 from=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    ended "$name" $? "$from"
}

# ended NAME STATUS FROM: counts a step that began when SECONDS were FROM.
ended() {
    local name=$1 status=$2 from=$3
    case $status in
    0)
        passed=$((passed + 1))
        echo "--- ok: $name ($((SECONDS - from)) s)"
        ;;
    "$SKIPPED")
        skipped+=("$name")
        echo "--- SKIPPED: $name ($((SECONDS - from)) s)"
        ;;
    *)
        failed+=("$name")
        echo "--- FAILED: $name, status $status ($((SECONDS - from)) s)"
        ;;
    esac
}

# begin_beside NAME COMMAND..: begins a step that runs beside those that follow: builds leave a part
# of the machine idle. Its output comes with end_beside, which waits for it.
begin_beside() {
    beside=$1 beside_from=$SECONDS beside_log=$(mktemp) || exit 2
    shift
    "$@" >"$beside_log" 2>&1 &
    beside_pid=$!
}

end_beside() {
    local status
    wait "$beside_pid"
    status=$?
    printf '\n=== %s\n' "$beside"
    cat "$beside_log"
    rm -f "$beside_log"
    ended "$beside" "$status" "$beside_from"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n --preserve-env=DEBIAN_FRONTEND "$@"; fi
}

has() { command -v "$1" >/dev/null 2>&1; }

# What is missing, as names of Debian packages.
missing_packages() {
    has cc || echo gcc
    [ -e /usr/include/stdlib.h ] || echo libc6-dev
    has git || echo git
    has pkg-config || echo pkg-config
    has dpkg-shlibdeps || echo dpkg-dev
    has adduser || echo adduser
    pkg-config --exists libdpdk 2>/dev/null || echo libdpdk-dev
    # Not libclang-cpp, which other packages bring.
    compgen -G '/usr/lib/llvm-*/lib/libclang[.-][0-9s]*' >/dev/null || echo libclang-dev
    PYTHONPATH=tests/lab /usr/bin/python3 -c 'import needs; print(*needs.missing_packages())'
    has tshark || echo tshark
    has valgrind || echo valgrind
    has chromium || echo chromium
    [ -x /usr/sbin/munged ] || echo munge
    [ -x /usr/sbin/slurmctld ] || echo slurmctld
    [ -x /usr/sbin/slurmd ] || echo slurmd
    has sbatch || echo slurm-client
    has rsvg-convert || echo librsvg2-bin
    [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || echo fonts-dejavu-core
    [ -x /usr/bin/python3 ] || echo python3
    /usr/bin/python3 -c 'import scapy.contrib.roce' >/dev/null 2>&1 || echo python3-scapy
    /usr/bin/python3 -c 'import ensurepip' >/dev/null 2>&1 || echo python3-venv
}

install_needs() {
    local packages
    packages=$(missing_packages)
    if [ -n "$packages" ]; then
        echo "missing:" $packages
        [ -z "${QPMUX_NO_INSTALL:-}" ] || return 1
        as_root apt-get update -q || return
        # shellcheck disable=SC2086 # one word for each package
        as_root apt-get install -q -y --no-install-recommends $packages || return
        packages=$(missing_packages)
        [ -z "$packages" ] || { echo "still missing:" $packages; return 1; }
    fi
    has cargo || { echo "cargo is missing: rustup (https://rustup.rs) installs it"; return 1; }
    cargo --version || return
    if ! has cargo-deny; then
        [ -z "${QPMUX_NO_INSTALL:-}" ] || { echo "missing: cargo-deny"; return 1; }
        # What it does takes no time; to optimise it would take minutes.
        CARGO_PROFILE_DEV_DEBUG=false cargo install --debug --locked "cargo-deny@$CARGO_DENY" ||
            return
    fi
    cargo deny --version || return
    install_arrow || return
    enough_room
}

# A full disk would show as a failure of whatever is built then.
enough_room() {
    local target free
    target=$(target_folder) || return
    mkdir -p "$target" || return
    free=$(df --output=avail -k "$target" | tail -n 1)
    [ "$free" -ge "$ROOM_KIB" ] && return
    echo "$target: $((free >> 20)) GiB free, and a whole run needs $((ROOM_KIB >> 20))."
    echo "Make room there, or name another folder in CARGO_TARGET_DIR."
    return 1
}

# Apache Arrow, which reads Parquet and is in no Debian, for a Python of its own.
install_arrow() {
    local python
    python=$(target_folder)/python || return
    if ! "$python/bin/python3" -c 'import pyarrow' >/dev/null 2>&1; then
        [ -z "${QPMUX_NO_INSTALL:-}" ] || { echo "missing: pyarrow"; return 1; }
        /usr/bin/python3 -m venv "$python" || return
        "$python/bin/python3" -m pip install -q --only-binary :all: "pyarrow==$PYARROW" || return
    fi
    "$python/bin/python3" -c 'import pyarrow; print("pyarrow", pyarrow.__version__)'
}

run_tests() {
    if [ "$tier" = quick ]; then
        cargo test --locked --workspace $LIVE --no-fail-fast
        return
    fi
    # Examples in documentation that are marked `ignore` are not meant to run.
    cargo test --locked --workspace $LIVE --lib --bins --tests --no-fail-fast -- --include-ignored
    local status=$?
    cargo test --locked --workspace $LIVE --doc || status=1
    return "$status"
}

# An engine that breaks one of its rules must be noticed.
mutations() {
    cargo test --locked --release -p qpmux --features mutations --test mutations -- --nocapture
}

# Only a database that cannot be fetched is skipped over: what it then says, counts.
advisories() {
    if ! cargo deny fetch db; then
        echo "*************************************************************************"
        echo "* SKIPPED: the advisory database could not be fetched from the network. *"
        echo "* Nobody has looked for known vulnerabilities in the dependencies.      *"
        echo "*************************************************************************"
        return "$SKIPPED"
    fi
    cargo deny check --hide-inclusion-graph advisories
}

# Where cargo puts what it builds, CARGO_TARGET_DIR included.
target_folder() {
    cargo metadata --locked --format-version 1 --no-deps |
        /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# Fails where the engine executes more instructions for a packet than it did: see there.
instructions() {
    local target
    target=$(target_folder) || return
    tests/instructions/run.py --qpmux "$target/release/qpmux"
}

lab_on_dpdk() { lab --no-fragments "$@"; }

lab() {
    local target
    target=$(target_folder) || return
    as_root tests/lab/run.py --suite smoke --middlebox "$target/release/qpmux-live" "$@"
}

# shellcheck disable=SC2086 # $LIVE is two words
if [ "$tier" = lab ]; then
    step "release build" cargo build --locked --release -p qpmux-live --features dpdk
    step "passed untouched" lab
    step "translated" lab --config tests/lab/writes.toml --expect mapped
    step "READs mapped" lab --config tests/lab/map-all.toml --expect address_hits
    step "atomics replaced" lab --config tests/lab/replace.toml --expect replaced_atomics
    step "DPDK: translated" lab_on_dpdk --config tests/lab/dpdk/writes.toml --expect mapped
    step "DPDK: READs mapped" lab_on_dpdk --config tests/lab/dpdk/map-all.toml --expect address_hits
    step "DPDK: atomics replaced" \
        lab_on_dpdk --config tests/lab/dpdk/replace.toml --expect replaced_atomics
    step "killed" lab --suite crash --config tests/lab/journal.toml
    step "DPDK: killed" lab_on_dpdk --suite crash --config tests/lab/dpdk/journal.toml
    step "DPDK: successors" lab_on_dpdk --suite hand-over --config tests/lab/dpdk/journal.toml
    step "DPDK: two hosts" lab_on_dpdk --suite standby --config tests/lab/dpdk/standby.toml
    step "DPDK: two hosts, an arbiter" \
        lab_on_dpdk --only '^cut' --config tests/lab/dpdk/arbiter.toml
    step "DPDK: two workers" \
        lab_on_dpdk --suite servers --config tests/lab/dpdk/workers.toml --expect mapped
    step "DPDK: no interfaces" lab --vhost --config tests/lab/dpdk/vhost.toml --expect mapped
else
    step "what the tests need" install_needs
    begin_beside "release build" cargo build --locked --workspace $LIVE --release
    step "formatting" cargo fmt --all --check
    step "clippy" cargo clippy --locked --workspace $LIVE --all-targets -- -D warnings
    step "documentation" \
        env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace $LIVE --no-deps
    step "tests, built" cargo test --locked --workspace $LIVE --no-run
    end_beside
    step "instructions per packet" instructions
    step "tests ($tier)" run_tests
    # It builds everything again, which takes longer than a quick step may.
    [ "$tier" = quick ] || step "broken rules" mutations
    step "without DPDK" cargo check --locked --workspace
    step "packages" as_root tests/packaging/install.py
    step "virtual machines, DPDK" \
        lab_on_dpdk --config tests/lab/dpdk/writes.toml --expect mapped --tries 2
    step "virtual machines, two workers" \
        lab_on_dpdk --only 'servers: half' --config tests/lab/dpdk/workers.toml \
        --expect mapped --tries 2
    step "virtual machines, killed" \
        lab_on_dpdk --only '^crash: swaps' --config tests/lab/dpdk/journal.toml --tries 2
    step "virtual machines, two hosts" \
        lab_on_dpdk --only '^stand still' --config tests/lab/dpdk/standby.toml --tries 2
    step "licences, bans, sources" cargo deny check --hide-inclusion-graph licenses bans sources
    step "advisories" advisories
fi

join() { local IFS=,; echo "$*"; }
summary="tests/run.sh $tier: $passed ok, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ] || summary+=" ($(join "${failed[@]}"))"
summary+=", ${#skipped[@]} SKIPPED"
[ ${#skipped[@]} -eq 0 ] || summary+=" ($(join "${skipped[@]}"))"
printf '\n%s, %d s\n' "$summary" $((SECONDS - begin))
[ ${#failed[@]} -eq 0 ]
