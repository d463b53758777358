# shellcheck shell=bash
# Owns what must be on the machine: Debian's packages (installed when missing) and the Rust toolchain (only checked).
# Needs common.sh. Must not start services, nor let the packages start theirs.

present() { if [[ $1 == /* ]]; then [[ -e $1 ]]; else have "$1"; fi; }

# need_packages COMMAND=PACKAGE...: installs the packages whose command (or /file) is not there.
need_packages() {
  local pair missing=()
  for pair; do present "${pair%%=*}" || missing+=("${pair#*=}"); done
  ((${#missing[@]})) || return 0
  install_packages "${missing[@]}"
  for pair; do
    present "${pair%%=*}" || fail "the package ${pair#*=} is installed, but ${pair%%=*} is still missing; reinstall it with: apt-get install --reinstall ${pair#*=}"
  done
}

install_packages() {
  local by_hand="sudo apt-get update && sudo apt-get install --no-install-recommends $*" sudo=()
  have apt-get || fail "this needs what Debian calls $*; there is no apt-get here, so install them with your own package manager"
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null || fail "some packages are missing and need root to be installed; type: $by_hand"
    sudo=(sudo)
  fi
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120)
  say "Installing from Debian's packages: $*"
  refresh_package_lists "${apt[@]}"
  without_services install_or_repair "$@" || fail "apt-get could not install $*; its own words are above, and this shows more: $by_hand"
}

install_or_repair() {
  indented "${apt[@]}" install --no-install-recommends "$@" && return
  say "That failed; repairing half-installed packages and trying once more"
  indented "${apt[@]}" --fix-broken install || true
  indented "${apt[@]}" install --no-install-recommends "$@"
}

policy=/usr/sbin/policy-rc.d

# without_services COMMAND [ARG...]: meanwhile no package starts its daemon, which would take a standard port and stay.
# Debian's packages ask the policy; one that is there already is put aside, and back however this ends.
without_services() (
  trap restore_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  # A script that was killed has left ours.
  if [[ -e $policy ]] && ! grep -q getaredis "$policy"; then "${sudo[@]}" mv "$policy" "$policy.aside" || exit; fi
  printf '#!/bin/sh\n# %s of getaredis installs packages, and wants none of their services.\nexit 101\n' "$me" |
    "${sudo[@]}" tee "$policy" >/dev/null && "${sudo[@]}" chmod 755 "$policy" && "$@"
)

restore_policy() {
  local status=$?
  if grep -qs getaredis "$policy"; then "${sudo[@]}" rm -f "$policy"; fi
  if [[ -e $policy.aside ]]; then "${sudo[@]}" mv "$policy.aside" "$policy"; fi
  exit "$status"
}

lists_are_fresh=

refresh_package_lists() {
  [[ -z $lists_are_fresh ]] || return 0
  # Stale lists may still do, so the installation is the judge.
  indented "$@" update || warn "apt-get update failed; going on with the package lists that are here"
  lists_are_fresh=yes
}

# need_build_tools: a C compiler for the bundled SQLite and for ring; gcc only *recommends* the C library's headers.
need_build_tools() { need_packages cc=gcc /usr/include/stdlib.h=libc6-dev; }

need_docker_engine() {
  need_packages dockerd=docker.io ip=iproute2 iptables=iptables
  need_docker_client
}

# need_docker_client: docker.io brings it in some releases of Debian; in the others it is a package of its own.
need_docker_client() {
  have docker || install_packages docker.io
  have docker || need_packages docker=docker-cli
}

# need_python_venv: Debian's python3 leaves out what makes a virtual environment.
need_python_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv; }

# Where images of Ubuntu's droplets are made of; Debian's machines may or may not reach it.
# shellcheck disable=SC2034 # whoever sources this uses it
ubuntus_archive=http://archive.ubuntu.com/ubuntu

# need_droplets: what simulated droplets need of this machine.
need_droplets() {
  need_packages mmdebstrap=mmdebstrap nft=nftables ethtool=ethtool ip=iproute2 mkfs.ext4=e2fsprogs losetup=mount \
    unshare=util-linux setpriv=util-linux
}

# need_rust: the toolchain that Cargo.toml asks for.
need_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
  have cargo || fail "there is no Rust toolchain; install one with: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
  found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || fail "cargo is here, but rustc does not run; repair it with: rustup toolchain install stable"
  [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) == "$wanted" ]] ||
    fail "Rust $found is too old, $wanted or newer is needed; type: rustup update stable"
}

# need_cargo_command NAME REMEDY
need_cargo_command() { cargo "$1" --version >/dev/null 2>&1 || fail "cargo $1 is missing; type: $2"; }
