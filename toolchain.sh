#!/bin/sh
# Chooses how bare-metal code is built, and says in one line what it chose. The only place that does.
#
#   ./toolchain.sh setup [PROGRAM]  install what is missing (Debian, root), else say what to install; further programs
#                                   are packages of that name
#   ./toolchain.sh build [PACKAGE]  kernel and tasks for x86_64-unknown-none, boot for x86_64-unknown-uefi; the packages
#                                   kernel-test-faults and kernel-test-mutants are kernels for tests: one makes faults on
#                                   purpose, one does without a check
#   ./toolchain.sh system           the same, without what only tests run
#   ./toolchain.sh project FOLDER   that, and the programs of a project elsewhere
#   ./toolchain.sh clippy           lint the same code, warnings are errors
#   ./toolchain.sh explain          say what would be used
#
# Outputs: target/bare/x86_64-unknown-none/release/NAME and target/bare/x86_64-unknown-uefi/release/boot.efi
# (BARE_TARGET_DIR in the environment replaces target/bare). A project's own programs are always in its target/bare.
#
# BARE_DAY in the environment is the day on which the compiler believes to run (for .ci/reproduce; needs faketime).
#
# Two ways. If the active toolchain has both targets (rustup users get them from rust-toolchain.toml), it is used as it
# is. Else Debian's compiler builds the same code together with core and alloc from Debian's own source package. Nothing
# here asks rustup to fetch anything.
set -eu

from=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
cd "$root"

bare_target=x86_64-unknown-none
uefi_target=x86_64-unknown-uefi
output=${BARE_TARGET_DIR:-target/bare}
case $output in /*) ;; *) output=$root/$output ;; esac
project=
# Workspace members that run on the host only, or (boot) for the other target.
not_bare="boot image-builder qemu"
# Members whose programs only tests run.
for_tests="bench hostile trials"
# Features of the kernel that are for tests; each has a kernel of its own.
test_features="test-faults test-mutants"
# The oldest compiler that builds this workspace, as Cargo.toml's rust-version.
oldest_minor=91

say() { echo "toolchain: $*" >&2; }

have() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

# Whether the compiler $1 has the two targets' libraries.
has_targets() {
    sysroot=$("$1" --print sysroot 2>/dev/null) || return 1
    [ -d "$sysroot/lib/rustlib/$bare_target/lib" ] && [ -d "$sysroot/lib/rustlib/$uefi_target/lib" ]
}

version() { "$1" --version 2>/dev/null | cut -d ' ' -f 2; }

new_enough() {
    minor=$(version "$1" | cut -d . -f 2)
    [ "${minor:-0}" -ge "$oldest_minor" ]
}

debian_source=/usr/lib/rustlib/src/rust
has_debian() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -d "$debian_source/library/core" ] &&
        have ld.lld && have lld-link && new_enough /usr/bin/rustc
}

# Sets `choice` to active, debian or none.
choose() {
    if have rustc && have cargo && has_targets rustc; then
        choice=active
    elif has_debian; then
        choice=debian
    else
        choice=none
    fi
}

explain() {
    case $choice in
    active) say "the active toolchain, rustc $(version rustc), which has both bare-metal targets" ;;
    debian) say "Debian's rustc $(version /usr/bin/rustc), building core and alloc from its source package" \
        "(the active toolchain lacks the bare-metal targets)" ;;
    none) say "no compiler for $bare_target and $uefi_target: rustup target add $bare_target $uefi_target" \
        "(or, on Debian: apt-get install $debian_packages)" ;;
    esac
}
debian_packages="rustc-web cargo-web rust-web-src rust-web-clippy rustfmt-web lld"

# Whether OVMF is in one of the places that the qemu crate looks at.
has_firmware() {
    for place in /usr/share/OVMF /usr/share/ovmf /usr/share/edk2/ovmf /usr/share/edk2/x64 /usr/share/edk2-ovmf/x64 \
        /usr/share/qemu /opt/homebrew/share/qemu /usr/local/share/qemu; do
        for name in OVMF.fd OVMF_CODE.fd OVMF_CODE_4M.fd OVMF_CODE.4m.fd edk2-x86_64-code.fd; do
            [ -e "$place/$name" ] && return 0
        done
    done
    return 1
}

setup() {
    missing=
    have cc || missing="$missing gcc libc6-dev"
    have qemu-system-x86_64 || missing="$missing qemu-system-x86"
    have qemu-img || missing="$missing qemu-utils"
    have sbsign || missing="$missing sbsigntool"
    have openssl || missing="$missing openssl"
    have shellcheck || missing="$missing shellcheck"
    has_firmware || missing="$missing ovmf"
    have sgdisk || missing="$missing gdisk"
    have mdir || missing="$missing mtools"
    have fsck.vfat || missing="$missing dosfstools"
    for program in "$@"; do
        have "$program" || missing="$missing $program"
    done
    choose
    [ "$choice" != none ] || missing="$missing $debian_packages"
    missing=${missing# }
    [ -n "$missing" ] || return 0

    if [ -e /etc/debian_version ] && have apt-get && [ "$(id -u)" = 0 ]; then
        say "installing $missing"
        # shellcheck disable=SC2086 # a list of package names
        if ! DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1; then
            apt-get -qq update
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
        fi
        choose
        [ "$choice" != none ] || { explain; exit 1; }
    elif [ "$choice" = none ]; then
        say "please install: $missing (instead of $debian_packages also: rustup target add $bare_target $uefi_target)"
        exit 1
    else
        say "please install: $missing (Debian's package names)"
        exit 1
    fi
}

# Runs cargo with arguments, as chosen. $1 is the target, $2 cargo's subcommand. Runs in a shell of its own, as it
# changes the environment and, for a project, the folder.
bare_cargo() (
    target=$1
    subcommand=$2
    shift 2
    # What the environment says about flags and places is for host builds.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR \
        CARGO_BUILD_TARGET_DIR CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS CARGO_TARGET_X86_64_UNKNOWN_UEFI_RUSTFLAGS \
        CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER CARGO_TARGET_X86_64_UNKNOWN_UEFI_LINKER
    # The same source gives the same bytes wherever it lies: panic messages carry no path of this machine.
    registry=${CARGO_HOME:-${HOME:-/root}/.cargo}/registry/src
    remap="\"--remap-path-prefix=$root=/charter\", \"--remap-path-prefix=$registry=/registry\""
    if [ "$choice" = debian ]; then
        real_source=$(readlink -f "$debian_source")
        remap="$remap, \"--remap-path-prefix=$debian_source=/rust\", \"--remap-path-prefix=$real_source=/rust\""
        linker=ld.lld
        [ "$target" = "$bare_target" ] || linker=lld-link
        set -- -Zbuild-std=core,alloc -Zbuild-std-features=compiler-builtins-mem \
            --config "target.$target.linker=\"$linker\"" "$@"
        export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO=/usr/bin/cargo
        program=/usr/bin/cargo
        # Called by its own name: cargo would find rustup's first.
        [ "$subcommand" != clippy ] || program=/usr/bin/cargo-clippy
    else
        program=cargo
    fi
    set -- --config "target.$target.rustflags=[$remap]" "$@"
    if [ -n "${project:-}" ]; then
        cd "$project"
        # What is compiled on the way lies with Charter's own: core, alloc and common dependencies are there already.
        set -- --target-dir target/bare --config "build.build-dir=\"$output\"" "$@"
    else
        set -- --target-dir "$output" "$@"
    fi
    case " $* " in *" --bin "*) ;; *) set -- --bins "$@" ;; esac
    set -- "$program" "$subcommand" --release --target "$target" "$@"
    if [ -n "${BARE_DAY:-}" ]; then
        # rustup's compiler never ends with another clock, because of its allocator.
        if timeout 20 faketime "$BARE_DAY" "${RUSTC:-rustc}" --version >/dev/null 2>&1; then
            set -- faketime "$BARE_DAY" "$@"
        else
            say "the day is not $BARE_DAY but today: no faketime, or not with this compiler"
        fi
    fi
    "$@"
)

# Every member for the bare target but these.
bare_packages() {
    printf -- '--workspace '
    # shellcheck disable=SC2086 # a list of names
    printf -- '--exclude %s ' $not_bare "$@"
}

# Chooses a compiler, or ends.
compiler() {
    choose
    explain
    [ "$choice" != none ] || exit 1
}

build() {
    compiler
    if [ $# -gt 0 ]; then
        for package in "$@"; do
            case $package in kernel-test-*) test_kernel "${package#kernel-}" && continue ;; esac
            target=$bare_target
            [ "$package" != boot ] || target=$uefi_target
            bare_cargo "$target" build -p "$package"
        done
        return
    fi
    # shellcheck disable=SC2046 # a list of arguments
    bare_cargo "$bare_target" build $(bare_packages)
    for feature in $test_features; do
        test_kernel "$feature"
    done
    bare_cargo "$uefi_target" build -p boot
}

# The kernel with the feature $1, which is for tests, beside the one without.
test_kernel() {
    bare_cargo "$bare_target" build -p kernel --bin "kernel-$1" --features "kernel/$1"
}

# What a system is made of.
system() {
    compiler
    # shellcheck disable=SC2046,SC2086 # lists of arguments
    bare_cargo "$bare_target" build $(bare_packages $for_tests)
    bare_cargo "$uefi_target" build -p boot
}

# The same, and the programs of the project in folder $1.
project() {
    folder=$(CDPATH='' cd -- "$from" && cd -- "${1:?which folder}" && pwd -P)
    [ -f "$folder/Cargo.toml" ] || { say "no project in $folder: it has no Cargo.toml"; exit 2; }
    system
    project=$folder
    bare_cargo "$bare_target" build
}

clippy() {
    compiler
    if [ "$choice" = debian ] && [ ! -x /usr/bin/cargo-clippy ]; then
        say "no clippy for this compiler: apt-get install rust-web-clippy"
        exit 1
    fi
    # shellcheck disable=SC2046 # a list of arguments
    bare_cargo "$bare_target" clippy $(bare_packages) -- -D warnings
    for feature in $test_features; do
        bare_cargo "$bare_target" clippy -p kernel --bin "kernel-$feature" --features "kernel/$feature" -- -D warnings
    done
    bare_cargo "$uefi_target" clippy -p boot -- -D warnings
}

case ${1:-} in
setup) shift && setup "$@" ;;
build) shift && build "$@" ;;
system) system ;;
project) shift && project "$@" ;;
clippy) clippy ;;
explain) choose && explain ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
