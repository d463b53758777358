"""Owns the client side of script/bench: two ways to a Redis that answers, timed with the same clock and the same wait.

`getaredis`: POST /v1/instances, then connect, AUTH, PING until PONG.
`docker run`: docker run -d with a port chosen before (so it need not be asked for), then the same wait.
Both run interleaved, so that a busy moment of the machine hits both. Nothing is reused between rounds: every
instance is removed, outside the timed part. Needs Python's standard library only.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time

PASSWORD = "bench"
PATIENCE_S = 60
POLL_S = 0.001
PARALLEL_RUNS = (1, 2, 4, 8)


def wait_for_pong(host, port, password):
    """Returns once an authenticated PING is answered; the same for both sides."""
    secret = password.encode()
    request = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*1\r\n$4\r\nPING\r\n" % (len(secret), secret)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = b""
        try:
            with socket.create_connection((host, port), timeout=5) as connection:
                connection.sendall(request)
                while b"+PONG\r\n" not in answer and not answer.startswith(b"-"):
                    piece = connection.recv(256)
                    if not piece:
                        break
                    answer += piece
        except OSError:
            pass  # not there yet
        if b"+PONG\r\n" in answer:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"no PONG from {host}:{port} within {PATIENCE_S} s; the last answer was {answer!r}")
        time.sleep(POLL_S)


class Getaredis:
    name = "getaredis"

    def __init__(self, address):
        self.address = address

    def call(self, method, path, token=None):
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status not in (201, 204):
            raise SystemExit(f"{method} {path} answered {response.status}: {body.decode(errors='replace')}")
        return json.loads(body) if body else None

    def start(self):
        made = self.call("POST", "/v1/instances")
        wait_for_pong(made["host"], made["port"], made["password"])
        return made

    def remove(self, made):
        self.call("DELETE", f"/v1/instances/{made['id']}", made["management_token"])


class DockerRun:
    name = "docker run"

    def __init__(self, host, image):
        self.docker = ["docker", "--host", host]
        self.image = image

    def start(self):
        port = free_port()
        command = ["run", "-d", "--memory", "64m", "--memory-swap", "64m", "-p", f"127.0.0.1:{port}:6379"]
        server = ["redis-server", "--requirepass", PASSWORD, "--save", "", "--appendonly", "no"]
        done = subprocess.run(self.docker + command + [self.image] + server, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"docker run failed: {done.stderr.strip()}")
        wait_for_pong("127.0.0.1", port, PASSWORD)
        return done.stdout.strip()

    def remove(self, made):
        subprocess.run(self.docker + ["rm", "-f", made], check=True, capture_output=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def timed_once(side):
    begin = time.perf_counter()
    made = side.start()
    took = time.perf_counter() - begin
    side.remove(made)
    return took


def timed_burst(side, size, parallel):
    """Seconds from the first click until the last of `size` instances answered."""
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        begin = time.perf_counter()
        all_made = [job.result() for job in [pool.submit(side.start) for _ in range(size)]]
        took = time.perf_counter() - begin
        list(pool.map(side.remove, all_made))
    return took


def interleaved(tasks, rounds, what):
    """Runs every task once a round, each round beginning with another one; the first round warms up."""
    names = list(tasks)
    times = {name: [] for name in names}
    for number in range(rounds + 1):
        progress(f"{what}: " + (f"round {number} of {rounds}" if number else "warm-up"))
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            took = tasks[name]()
            if number:
                times[name].append(took)
    progress("")
    return times


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def resident_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit(f"process {pid} shows no resident memory")


def machine(docker):
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        model = next((line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")), "")
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        gib = int(meminfo.readline().split()[1]) / 2**20
    asked = subprocess.run(docker + ["version", "-f", "{{.Server.Version}}"], capture_output=True, text=True, check=True)
    return (
        f"{os.cpu_count()} cores ({model or platform.machine()}), {gib:.0f} GiB, "
        f"Linux {platform.release()}, Docker {asked.stdout.strip()}, {time.strftime('%Y-%m-%d')}"
    )


def spread(times):
    return f"{statistics.median(times) * 1000:.0f} ms ({min(times) * 1000:.0f}-{max(times) * 1000:.0f})"


def ratio(ours, theirs):
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}"


def arguments():
    parser = argparse.ArgumentParser(prog="script/bench")
    parser.add_argument("--server", required=True)
    parser.add_argument("--server-pid", required=True, type=int)
    parser.add_argument("--docker", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--rounds", type=int, default=15, help="single instances, each side")
    parser.add_argument("--bursts", type=int, default=5, help="bursts, each side")
    parser.add_argument("--burst-size", type=int, default=20)
    return parser.parse_args()


def main():
    given = arguments()
    ours, theirs = Getaredis(given.server), DockerRun(given.docker, given.image)
    time.sleep(2)  # what the start needed is given back, or not
    idle = resident_mb(given.server_pid)
    one = interleaved({side.name: lambda side=side: timed_once(side) for side in (ours, theirs)}, given.rounds, "one")
    size = given.burst_size
    bursts = {ours.name: lambda: timed_burst(ours, size, size)}
    for parallel in PARALLEL_RUNS:
        bursts[parallel] = lambda parallel=parallel: timed_burst(theirs, size, parallel)
    many = interleaved(bursts, given.bursts, f"{size} at once")
    best = min(PARALLEL_RUNS, key=lambda parallel: statistics.median(many[parallel]))
    loaded = resident_mb(given.server_pid)

    print("| click to PONG, cold | getaredis | docker run | ratio | target |")
    print("|---|---|---|---|---|")
    print(f"| one | {spread(one[ours.name])} | {spread(one[theirs.name])} | {ratio(one[ours.name], one[theirs.name])} | ≤ 1.0 |")
    print(
        f"| {size} at once | {spread(many[ours.name])} | {spread(many[best])}, {best} in parallel "
        f"| {ratio(many[ours.name], many[best])} | ≤ 1.0 |"
    )
    print(f"\nResident memory of the server: {idle:.1f} MB idle (target ≤ 30 MB), {loaded:.1f} MB after the load.")
    others = ", ".join(f"{parallel}: {statistics.median(many[parallel]) * 1000:.0f} ms" for parallel in PARALLEL_RUNS)
    print(f"Medians (least-most) of {given.rounds} and {given.bursts} rounds; docker run in parallel by {others}.")
    print(f"Machine: {machine(theirs.docker)}.")


if __name__ == "__main__":
    main()
