# shellcheck shell=bash
# Owns the program itself as the scripts see it: built, started, ready, stopped.
# Needs common.sh and packages.sh. Must not decide about configuration; that is in the environment already.

program=    # the built binary
server_pid= # while it runs

# build_program: GETAREDIS_BINARY names one that was built elsewhere; then nothing is built.
build_program() {
  program=${GETAREDIS_BINARY:-}
  if [[ -n $program ]]; then
    [[ -x $program ]] || fail "GETAREDIS_BINARY=$program is no executable file"
    return
  fi
  need_build_tools
  need_rust
  local target
  target=$(cargo metadata --locked --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
  program=$target/release/getaredis
  [[ -x $program ]] || say "Building for the first time; this takes some minutes"
  interruptible cargo build --locked --release --manifest-path "$root/Cargo.toml" --bin getaredis ||
    fail "the program does not build; the compiler's words are above"
}

# start_server ADDRESS: runs `getaredis serve` and returns once it is ready. It ends with the script, even by kill -9.
start_server() {
  # setsid: Ctrl-C reaches the script alone, which then asks the server to finish.
  setpriv --pdeathsig TERM setsid "$program" serve &
  server_pid=$!
  on_exit stop_server
  within 60 server_is_ready_or_ended "$1" || fail "the server does not become ready within 60 s; http://$1/readyz says why"
  ended "$server_pid" || return 0
  local status=0
  wait "$server_pid" || status=$?
  fail "the server ended while it started (exit code $status); its own words are above"
}

server_is_ready_or_ended() { ended "$server_pid" || curl -fsS -o /dev/null --noproxy '*' -m 2 "http://$1/readyz" 2>/dev/null; }

stop_server() {
  [[ -n $server_pid ]] || return 0
  kill -TERM "$server_pid" 2>/dev/null || true
  within 20 ended "$server_pid" || kill -KILL "$server_pid" 2>/dev/null || true
  wait "$server_pid" 2>/dev/null || true
  server_pid=
}
