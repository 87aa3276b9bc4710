#!/usr/bin/env bash
# Makes Debian packages of qpmux and of qpmux-live, the latter with DPDK.
#
#   live/packaging/deb.sh [--out DIR] [--built]
#
#   --out DIR   where qpmux_VERSION_ARCH.deb and qpmux-live_VERSION_ARCH.deb go; default: deb in
#               cargo's target folder
#   --built     take the programs that cargo has built before, in its target folder
#
# Needs no root. The same programs and the same commit give the same bytes: every time in them is
# SOURCE_DATE_EPOCH, by default that of the last commit. DEBFULLNAME and DEBEMAIL name who made the
# packages. Exit status: 0 both are there, 1 nothing has changed, 2 wrong use.

set -euo pipefail
shopt -s inherit_errexit
exec </dev/null
umask 022
export LC_ALL=C TZ=UTC PYTHONDONTWRITEBYTECODE=1

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

fail() {
    echo "deb.sh: $1" >&2
    exit "${2:-1}"
}

out='' built=''
while [ $# -gt 0 ]; do
    case $1 in
    --out)
        [ -n "${2:-}" ] || fail "--out needs a folder" 2
        out=$(realpath -m -- "$2")
        shift
        ;;
    --built) built=1 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) fail "no such option: $1 (see --help)" 2 ;;
    esac
    shift
done

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
cd "$here/../.."
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
readonly PYTHON=/usr/bin/python3

# Programs that this needs, and the Debian packages that have them.
needs() {
    local pair missing=()
    for pair in dpkg-shlibdeps:dpkg-dev strip:binutils gzip:gzip readelf:binutils \
        "$PYTHON:python3"; do
        command -v "${pair%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -eq 0 ] || fail "missing packages: ${missing[*]}"
    command -v cargo >/dev/null || fail "cargo is missing: rustup (https://rustup.rs) installs it"
    [ -f live/packaging/qpmux-live.service ] || fail "live/packaging/qpmux-live.service is missing"
}

# The time of everything in the packages.
epoch() {
    if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
        SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) ||
            fail "no commit to take the time from: set SOURCE_DATE_EPOCH"
    fi
    export SOURCE_DATE_EPOCH
}

# The version of qpmux-live and cargo's target folder, a line each.
project() {
    cargo metadata --locked --format-version 1 --no-deps | "$PYTHON" -c '
import json, sys
metadata = json.load(sys.stdin)
versions = {each["name"]: each["version"] for each in metadata["packages"]}
assert versions["qpmux"] == versions["qpmux-live"], "two versions"
# What comes before a release, sorts before it.
print(versions["qpmux-live"].replace("-", "~", 1), metadata["target_directory"], sep="\n")'
}

# put MODE FILE PLACE: a file, below the package's folder.
put() {
    install -D -m "$1" "$2" "$stage/$3"
}

# put_packed FILE PLACE: the same, packed, with .gz at its end.
put_packed() {
    mkdir -p "$(dirname "$stage/$2")"
    gzip -9 -n -c "$1" >"$stage/$2.gz"
}

# put_program NAME: without what only a debugger reads.
put_program() {
    put 755 "$programs/$1" "usr/bin/$1"
    strip --strip-unneeded --remove-section=.comment --remove-section=.note "$stage/usr/bin/$1"
}

# put_words PACKAGE FEATURES: what Debian wants every package to say about itself.
put_words() {
    local doc=usr/share/doc/$1 rust
    {
        cat "$here/debian/copyright"
        echo
        echo "License: MIT"
        sed -e '1,/^Copyright/d' -e '/./,$!d' -e 's/^$/./' -e 's/^/ /' LICENSE-MIT |
            sed -e '1{/^ \.$/d}'
    } >"$aside/copyright"
    put 644 "$aside/copyright" "$doc/copyright"
    printf '%s (%s) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n' "$1" "$version" \
        "What has changed is in CHANGELOG.md.gz." "$maintainer" \
        "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$aside/changelog"
    put_packed "$aside/changelog" "$doc/changelog"
    put_packed CHANGELOG.md "$doc/CHANGELOG.md"
    "$PYTHON" "$here/third-party.py" "$1" "$2" >"$aside/third-party.txt"
    put_packed "$aside/third-party.txt" "$doc/third-party.txt"
    rust=$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html
    [ ! -f "$rust" ] || put_packed "$rust" "$doc/rust-standard-library.html"
}

stage_qpmux() {
    local doc=usr/share/doc/qpmux page
    put_program qpmux
    put_words qpmux ''
    put_packed README.md $doc/README.md
    for page in docs/{guide,cannot,json}.md; do put_packed "$page" "$doc/${page#docs/}"; done
    for page in docs/schemas/* docs/slurm/*; do put 644 "$page" "$doc/${page#docs/}"; done
    "$programs/qpmux" man --out "$aside/man" >/dev/null
    for page in "$aside"/man/*.1; do
        put_packed "$page" "usr/share/man/man1/$(basename "$page")"
    done
    "$programs/qpmux" completions bash >"$aside/completions"
    put 644 "$aside/completions" usr/share/bash-completion/completions/qpmux
    "$programs/qpmux" completions zsh >"$aside/completions"
    put 644 "$aside/completions" usr/share/zsh/vendor-completions/_qpmux
    "$programs/qpmux" completions fish >"$aside/completions"
    put 644 "$aside/completions" usr/share/fish/vendor_completions.d/qpmux.fish
}

stage_live() {
    local doc=usr/share/doc/qpmux-live dashboard page
    put_program qpmux-live
    put_words qpmux-live qpmux-live/dpdk
    for page in live/*.md; do put_packed "$page" "$doc/${page#live/}"; done
    put_packed "$here/qpmux-live.8" usr/share/man/man8/qpmux-live.8
    put 644 "$here/live.toml" etc/qpmux/live.toml
    put 644 "$here/qpmux-live.service" lib/systemd/system/qpmux-live.service
    put 644 "$here/dpdk.conf" $doc/examples/dpdk.conf
    for dashboard in live/grafana/*.json; do
        [ ! -f "$dashboard" ] ||
            put 644 "$dashboard" "usr/share/qpmux-live/grafana/$(basename "$dashboard")"
    done
}

# The Debian package of a plug-in of the DPDK that the program is linked with.
plugin() {
    local found
    found=$(dpkg-query -S "*/dpdk/pmds-*/librte_$1.so.$abi" 2>/dev/null) ||
        fail "no package has DPDK's plug-in $1"
    found=${found%%:*}
    echo "$found"
}

# plugins NAME..: the same of several, with commas.
plugins() {
    local name all=''
    for name in "$@"; do all+=", $(plugin "$name")"; done
    echo "${all#, }"
}

# The libraries that a program of the package needs, as Debian packages.
libraries() {
    printf 'Source: qpmux\n\nPackage: %s\nArchitecture: any\n' "$1" >"$aside/debian/control"
    (cd "$aside" && dpkg-shlibdeps -O "debian/$1/usr/bin/$1") | sed -n 's/^shlibs:Depends=//p'
}

# fields PACKAGE: what depends on the package.
fields() {
    local depends drivers more
    depends=$(libraries "$1")
    [ -n "$depends" ] || fail "dpkg-shlibdeps finds nothing that $1 needs"
    if [ "$1" = qpmux ]; then
        echo "Depends: $depends"
        echo "Suggests: qpmux-live"
        return
    fi
    abi=$(readelf -d "$stage/usr/bin/$1" | sed -n 's/.*\[librte_eal\.so\.\(.*\)\]/\1/p')
    [ -n "$abi" ] || fail "$programs/$1 was built without DPDK"
    # Without a bus there is no port, and without the ring no buffer; drivers are as there is need.
    depends+=", adduser, $(plugins bus_pci bus_vdev mempool_ring)"
    drivers=$(plugins net_af_packet net_af_xdp net_mlx5 net_vhost)
    more=$(plugins net_pcap)
    echo "Depends: $depends"
    echo "Recommends: $drivers"
    echo "Suggests: $more, dpdk, ethtool, librte-meta-net, qpmux"
}

# KiB, each file rounded up, and one for whatever else there is: the same on every file system.
installed_size() {
    find "$stage" -mindepth 1 -path "$stage/DEBIAN" -prune -o -printf '%y %s\n' |
        awk '{ kib += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print kib }'
}

# pack PACKAGE: writes the package of what is staged.
pack() {
    local name=$1 control=$stage/DEBIAN size script text
    size=$(installed_size)
    mkdir "$control"
    # Not within what follows: there a failure would not end the script.
    text=$(fields "$name")
    {
        echo "Package: $name"
        echo "Version: $version"
        echo "Architecture: $arch"
        echo "Maintainer: $maintainer"
        echo "Installed-Size: $size"
        echo "$text"
        cat "$here/debian/$name.control"
    } >"$control/control"
    (cd "$stage" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z |
        xargs -0 md5sum) >"$control/md5sums"
    if [ -d "$stage/etc" ]; then
        (cd "$stage" && find etc -type f -printf '/%p\n' | sort) >"$control/conffiles"
    fi
    for script in postinst prerm postrm; do
        [ ! -f "$here/debian/$name.$script" ] ||
            install -m 755 "$here/debian/$name.$script" "$control/$script"
    done
    # Modes are as above, however the file system of the folder treats those of new files.
    find "$stage" -type d -exec chmod u=rwx,go=rx,a-s {} +
    find "$control" -maxdepth 1 -type f ! -name '*inst' ! -name '*rm' -exec chmod 644 {} +
    find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # One thread: otherwise the number of cores shows.
    dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$stage" "$aside/$name.deb" >/dev/null
}

needs
epoch
mapfile -t told < <(project)
[ ${#told[@]} -eq 2 ] || fail "cargo does not say which version this is"
version=${told[0]} target=${told[1]}
arch=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-The qpmux authors} <${DEBEMAIL:-authors@qpmux.invalid}>"
programs=$target/release
out=${out:-$target/deb}

if [ -z "$built" ]; then
    cargo build --locked --release -p qpmux
    cargo build --locked --release -p qpmux-live --features dpdk
fi
for program in qpmux qpmux-live; do
    [ -x "$programs/$program" ] || fail "$programs/$program is missing: leave out --built"
done

# Beside the place of the packages, so that they only have to be renamed.
mkdir -p "$out"
aside=$(mktemp -d "$out/.deb.XXXXXX")
trap 'rm -rf "$aside"' EXIT
trap 'exit 1' INT TERM HUP

# dpkg-shlibdeps wants them there.
stage=$aside/debian/qpmux
mkdir -p "$stage"
stage_qpmux
pack qpmux
stage=$aside/debian/qpmux-live
mkdir "$stage"
stage_live
pack qpmux-live

for package in qpmux qpmux-live; do
    mv "$aside/$package.deb" "$out/${package}_${version}_$arch.deb"
    echo "$out/${package}_${version}_$arch.deb"
done
