# shellcheck shell=bash
# Owns the private Docker Engine: whether one may run here, its network, its start, its end, and what a crash left behind.
# Needs common.sh, root, and the packages docker.io, iproute2 and iptables. Must not touch any other Docker Engine.
#
# dockerd runs in its own PID and mount namespaces, with its own containerd. When the script dies, even by kill -9, the
# kernel ends everything in them: dockerd, containerd, containers and mounts. What can be left over is the network
# and some files; they are recorded under /run/getaredis and the next start of any script sweeps them away.
#
# dockerd itself keeps its hands off iptables (a second daemon would flush the chains of the first): ports are
# published by docker-proxy, and one rule of ours drops whatever the containers would send to each other or outside.

dockerd_registry=/run/getaredis
dockerd_host=   # unix://… while it runs
dockerd_reason= # one sentence: why it did not start

# dockerd_start DIR [temporary]: runs a dockerd whose images and containers live in DIR/docker and whose log is
# DIR/dockerd.log. False, with the reason in dockerd_reason, when it cannot. DIR goes when it is temporary.
dockerd_start() {
  local dir=$1 temporary=${2:-}
  dockerd_may || return 1
  dockerd_claim_network "$dir" "$temporary" || return 1
  dockerd_socket=$dir/docker.sock
  # The kernel's limit for a socket's path is 108 bytes.
  ((${#dockerd_socket} <= 100)) || dockerd_socket=$dockerd_run/docker.sock
  on_exit dockerd_stop
  dockerd_launch "$dir"
  if within 30 dockerd_answers_or_ended && ! ended "$dockerd_pid"; then
    dockerd_host=unix://$dockerd_socket
    return 0
  fi
  dockerd_reason="dockerd does not start: $(dockerd_last_words "$dir/dockerd.log")"
  dockerd_stop
  return 1
}

# dockerd_may: false, with the reason, when this user or this machine cannot run one at all.
dockerd_may() {
  local net_admin=12 sys_admin=21 caps
  dockerd_reason=
  ((EUID == 0)) || { dockerd_reason="only root can start one (run this with sudo, or join the group docker)" && return 1; }
  caps=$((16#$(sed -n 's/^CapEff:\s*//p' /proc/self/status)))
  ((caps >> net_admin & 1 && caps >> sys_admin & 1)) ||
    { dockerd_reason="this container or machine withholds CAP_NET_ADMIN or CAP_SYS_ADMIN from root" && return 1; }
  have dockerd || { dockerd_reason="there is no dockerd; the package docker.io has it" && return 1; }
  unshare --pid --mount --fork true 2>/dev/null || { dockerd_reason="the kernel refuses new namespaces" && return 1; }
}

dockerd_launch() {
  local dir=$1 log=$1/dockerd.log init
  init=$(dirname "${BASH_SOURCE[0]}")/dockerd-init
  mkdir -p "$dir/docker"
  # The machine's own /etc/docker/daemon.json is meant for its own daemon.
  echo '{}' >"$dockerd_run/daemon.json"
  rm -f "$dir/dockerd.pid" "$dockerd_socket"
  # setsid keeps the terminal's Ctrl-C away from it: the server must be able to finish first.
  setpriv --pdeathsig KILL setsid unshare --pid --mount --fork --kill-child=KILL -- \
    bash "$init" "$dir/dockerd.pid" dockerd \
    --config-file "$dockerd_run/daemon.json" --data-root "$dir/docker" \
    --exec-root "$dockerd_run/exec" --pidfile "$dockerd_run/inner.pid" --host "unix://$dockerd_socket" \
    --bridge "$dockerd_bridge" --default-address-pool "base=$dockerd_range,size=22" \
    --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=true \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$dockerd_bridge" \
    --shutdown-timeout 5 --log-level warn >"$log" 2>&1 </dev/null {dockerd_lock}>&- &
  dockerd_pid=$!
  dockerd_dir=$dir
}

dockerd_answers_or_ended() { ended "$dockerd_pid" || engine_answers "unix://$dockerd_socket"; }

# engine_answers HOST: true when a Docker Engine answers there.
engine_answers() { timeout 5 docker --host "$1" version >/dev/null 2>&1; }

dockerd_last_words() {
  local words
  words=$(grep -E 'level=(error|fatal)|failed|unable|unknown' "$1" | tail -n 1)
  printf '%s (the whole log: %s)\n' "${words:-it said nothing}" "$1"
}

# dockerd_stop: asks it to end, makes sure, and takes its network away. Does nothing when none runs.
dockerd_stop() {
  [[ -n ${dockerd_pid:-} ]] || return 0
  local init
  if init=$(cat "$dockerd_dir/dockerd.pid" 2>/dev/null); then kill -TERM "$init" 2>/dev/null || true; fi
  within 20 ended "$dockerd_pid" || true
  kill -KILL "$dockerd_pid" 2>/dev/null || true
  wait "$dockerd_pid" 2>/dev/null || true
  rm -f "$dockerd_dir/dockerd.pid" "$dockerd_socket"
  dockerd_forget "$dockerd_run"
  dockerd_pid='' dockerd_host=''
}

# ---- The network: bridge getaredisN with a /16 of its own, chosen so that nothing on this machine has it.

# range_of N: prints the /16 of bridge number N, or nothing when there are no more.
range_of() {
  if (($1 < 32)); then
    echo "10.$((224 + $1)).0.0/16"
  elif (($1 < 44)); then
    echo "172.$((20 + $1 - 32)).0.0/16"
  fi
}

range_is_free() {
  local routes
  routes=$(ip -4 route show root "$1"; ip -4 route show match "$1")
  ! grep -qvE '^(default|$)' <<<"$routes"
}

# dockerd_claim_network DIR TEMPORARY: the same number as last time if it is free (DIR/network remembers).
dockerd_claim_network() {
  local dir=$1 temporary=$2 last number
  mkdir -p "$dir" "$dockerd_registry"
  # One script at a time, so that nobody sweeps away what another is just making.
  exec {dockerd_lock}>"$dockerd_registry/lock"
  flock "$dockerd_lock"
  dockerd_sweep
  last=$(cat "$dir/network" 2>/dev/null || true)
  for number in $last {0..43}; do
    dockerd_range=$(range_of "$number")
    dockerd_bridge=getaredis$number
    range_is_free "$dockerd_range" && ip link add "$dockerd_bridge" type bridge 2>/dev/null && break
    dockerd_bridge=
  done
  if [[ -n $dockerd_bridge ]]; then dockerd_record "$temporary" "$dir" && dockerd_raise_network; fi
  exec {dockerd_lock}>&-
  [[ -n $dockerd_bridge ]] || { dockerd_reason="no bridge device can be made (ip link add … type bridge), or all networks are taken" && return 1; }
  # Networks that the engine remembers from another range would be neither free nor guarded by our rule.
  [[ $number == "$last" ]] || rm -f "$dir/docker/network/files/local-kv.db"
  echo "$number" >"$dir/network"
}

dockerd_record() {
  dockerd_run=$dockerd_registry/$dockerd_bridge
  rm -rf "$dockerd_run"
  mkdir -p "$dockerd_run"
  echo "$dockerd_range" >"$dockerd_run/range"
  [[ -z $1 ]] || echo "$2" >"$dockerd_run/temporary"
  echo "$$ $(started_at $$)" >"$dockerd_run/owner"
}

dockerd_raise_network() {
  ip address add "${dockerd_range%.0/16}.1/22" dev "$dockerd_bridge"
  ip link set "$dockerd_bridge" up
  # Bridged packets pass the rule only with this module.
  modprobe -q br_netfilter 2>/dev/null || true
  iptables -w -I FORWARD -s "$dockerd_range" -j DROP 2>/dev/null ||
    warn "iptables does not work here, so containers can reach each other's ports (each still asks for its password)"
}

# started_at PID: when it started, which tells it from a later process with the same number; nothing once it is dead.
started_at() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  # The name in parentheses may hold blanks; after it come the state and, as the 20th field, the start.
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [[ $1 == Z ]] || echo "${20}"
}

# dockerd_sweep: removes what scripts that died without cleaning up left on this machine. Only what is recorded here
# goes: a bridge without a record may belong to a script in a container that shares the network, but not /run.
dockerd_sweep() {
  local run pid start
  for run in "$dockerd_registry"/getaredis*/; do
    [[ -d $run ]] || continue
    read -r pid start 2>/dev/null <"$run/owner" || pid=0 start=none
    [[ $(started_at "$pid") == "$start" ]] || dockerd_forget "${run%/}"
  done
}

# dockerd_forget RUN: takes away the network, the control groups and the files of a dockerd that runs no more.
dockerd_forget() {
  local run=$1 range link group=${1##*/}
  if range=$(cat "$run/range" 2>/dev/null); then
    while iptables -w -D FORWARD -s "$range" -j DROP 2>/dev/null; do :; done
    # The engine's further networks have bridges (br-…) with addresses in the same range.
    for link in $(ip -4 -o address show type bridge to "$range" | awk '{print $2}'); do ip link delete "$link" 2>/dev/null || true; done
  fi
  find /sys/fs/cgroup -depth -type d \( -name "$group" -o -path "*/$group/*" \) -exec rmdir {} + 2>/dev/null || true
  if [[ -s $run/temporary ]]; then rm -rf --one-file-system "$(cat "$run/temporary")"; fi
  rm -rf --one-file-system "$run"
}
