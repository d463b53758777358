# shellcheck shell=bash
# Owns what every script needs: how it speaks, how it fails, and the list of things to undo when it ends.
# Must not install, start or stop anything by itself.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
me=script/$(basename "$0")
# `su` keeps a PATH without the sbin directories, and a fresh rustup is not on it yet.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$HOME/.cargo/bin
export PATH

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
warn() { printf '%s: warning: %s\n' "$me" "$*" >&2; }

# fail SENTENCE: ends the script; the sentence says what is wrong and what to do about it.
fail() {
  printf '%s: %s\n' "$me" "$*" >&2
  exit 1
}

# indented PROGRAM [ARG...]: runs it, with what it says below the sentence that announced it.
indented() { "$@" 2>&1 | sed --unbuffered 's/^/    /'; }

have() { command -v "$1" >/dev/null 2>&1; }

# usage: prints the comment at the head of the script, which is its manual.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

undo=()

# on_exit COMMAND [ARG...]: runs it when the script ends, however it ends; the last one pushed runs first.
on_exit() { undo+=("$(printf '%q ' "$@")"); }

run_undo() {
  local status=$? i
  # A second Ctrl-C must not leave half of the clean-up undone; each step is bounded in time.
  trap '' INT TERM HUP
  trap - EXIT
  set +e
  end_job
  for ((i = ${#undo[@]} - 1; i >= 0; i--)); do eval "${undo[i]}"; done
  exit "$status"
}

job=

# interruptible PROGRAM [ARG...]: runs it so that a signal sent to the script alone is heard at once; bash would
# otherwise hear it only after the program, and what it starts in the background would be deaf to Ctrl-C.
interruptible() {
  local status=0
  env --default-signal=INT,QUIT "$@" &
  job=$!
  wait "$job" || status=$?
  job=
  return "$status"
}

end_job() {
  [[ -n $job ]] || return 0
  kill -TERM "$job" 2>/dev/null
  within 20 ended "$job" || kill -KILL "$job" 2>/dev/null
}

trap run_undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# within SECONDS COMMAND [ARG...]: repeats the command until it succeeds; false when the time is over.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

ended() { ! kill -0 "$1" 2>/dev/null; }

# listening HOST PORT: true when something accepts connections there.
listening() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# free_port: prints a loopback port that nobody listens on.
free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)); do
    listening 127.0.0.1 "$port" || break
  done
  printf '%s\n' "$port"
}
