#!/usr/bin/python3
"""What a frame costs on DPDK's ports, beside dpdk-testpmd, in one session on the same devices.

    cargo build --release -p qpmux -p qpmux-live --features qpmux-live/dpdk
    live/bench/cost.py [--seconds 2] [--repeat 5] [--json]

Two tables, in nanoseconds of processor time for a frame, medians of interleaved repetitions with
the least and the most:

1. testpmd (Debian: dpdk-dev) in `io` mode and qpmux-live with map none, between ports that give the
   same frames again and again (net_pcap, infinite_rx) and throw away what is sent: frames of 62 and
   1,098 bytes.
2. qpmux-live with each map on what a replay of Clover let the engine take in, one frame at a time
   by its own clock: what a policy adds to none. Frames are read from and written to files, which
   costs more than the engine; only the differences say something.

Processors are shared and clocks change: compare within a run, never between two.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EAL = ["--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--no-shconf"]
SMALL, LARGE = 62, 1_098
FRAMES = 512
SERVER = "10.9.0.2"
# Of synthesized captures of Clover.
CLOVER_SERVERS = ["192.168.1.13"]
MAPS = {"none": [], "writes": ["--map", "writes"], "all": ["--map", "all"]}


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="cost-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        looped = measure_looped(options, folder)
        replayed = measure_replayed(options, folder)
    if options.json:
        json.dump({"looped": looped, "replayed": replayed}, sys.stdout, indent=2)
        print()
        return
    print(f"{'frames again and again':34}{'ns/frame':>10}{'least':>8}{'most':>8}{'to io':>8}")
    for size in (SMALL, LARGE):
        io = statistics.median(looped[f"io {size}"])
        for name in ("io", "none"):
            found = looped[f"{name} {size}"]
            tell(f"{name}, {size} bytes", found, f"{statistics.median(found) / io:.2f}")
    print(f"\n{'Clover A, by map':34}{'ns/frame':>10}{'least':>8}{'most':>8}{'added':>8}")
    none = statistics.median(replayed["none"])
    for name, found in replayed.items():
        tell(f"map {name}", found, f"{statistics.median(found) - none:.0f}")


def tell(name, found, last):
    """A line of a table."""
    middle = statistics.median(found)
    print(f"{name:34}{middle:10.1f}{min(found):8.1f}{max(found):8.1f}{last:>8}")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2, help="of each looped run (2)")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each (5)")
    parser.add_argument("--ops", type=int, default=100_000, help="operations of Clover (100,000)")
    parser.add_argument("--json", action="store_true", help="every number, as JSON")
    parser.add_argument("--programs", default=f"{ROOT}/target/release", metavar="DIR")
    return parser.parse_args()


def measure_looped(options, folder):
    """Nanoseconds a frame of both programs on the same frames, again and again."""
    found = {}
    for _ in range(options.repeat):
        for size in (SMALL, LARGE):
            capture = f"{folder}/{size}.pcap"
            write_frames(capture, size)
            devices = [f"net_pcap{n},rx_pcap={capture},infinite_rx=1" for n in (0, 1)]
            found.setdefault(f"io {size}", []).append(testpmd(devices, options.seconds))
            found.setdefault(f"none {size}", []).append(ours(options, folder, devices))
    return found


def write_frames(path, size):
    """RoCEv2 ACKs, or WRITEs of one packet, of so many bytes; nobody knows their queue pairs."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    frames = []
    for number in range(FRAMES):
        opcode = 0x11 if size == SMALL else 0x0A
        bth = bytes([opcode, 0, 0xFF, 0xFF, 0, 0, 0, number % 251]) + number.to_bytes(4, "big")
        head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(
            src="10.9.0.1", dst=SERVER
        )
        udp = UDP(sport=49_152 + number % 64, dport=4791)
        frames.append(head / udp / (bth + bytes(size - 14 - 20 - 8 - len(bth))))
    wrpcap(path, frames)


def testpmd(devices, seconds):
    """On-CPU nanoseconds a frame of testpmd's worker."""
    vdevs = [word for device in devices for word in ("--vdev", device)]
    command = ["dpdk-testpmd", *EAL, "-l", "0,1", *vdevs, "--", "--forward-mode=io"]
    command += ["--auto-start", "--stats-period", "10", "--total-num-mbufs", "8192"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(1 + seconds)
        busy = on_cpu_ns(process.pid, "worker")
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=20)[0].decode()
    totals = text.split("Accumulated forward statistics for all ports")[-1]
    return busy / int(re.search(r"RX-packets: *(\d+)", totals).group(1))


def on_cpu_ns(pid, name):
    """Processor time of the thread with this in its name (proc(5), schedstat)."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as file:
            if name not in file.read():
                continue
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0])
    raise SystemExit(f"no thread called {name} in process {pid}")


def ours(options, folder, devices):
    """The same of qpmux-live, map none."""
    text = "\n".join(
        [
            f"[client]\nport = '{devices[0]}'",
            f"[server]\nport = '{devices[1]}'",
            f"[dpdk]\neal = {json.dumps(EAL + ['-l', '1'])}",
            "[metrics]\nlisten = 'off'",
            "[limits]\nframe_len_max = 2048",
        ]
    )
    with open(f"{folder}/looped.toml", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    command = [f"{options.programs}/qpmux-live", "--config", f"{folder}/looped.toml"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(1 + options.seconds)
        process.send_signal(signal.SIGTERM)
        report = json.loads(process.communicate(timeout=20)[0])
    received = sum(report["ports"][side]["received"] for side in ("client", "server"))
    return report["loop_cpu_ns"] / received


def measure_replayed(options, folder):
    """Nanoseconds a frame with each map."""
    qpmux, live = f"{options.programs}/qpmux", f"{options.programs}/qpmux-live"
    capture = f"{folder}/clover.pcap"
    run([qpmux, "synth", "--threads", "64", "--ops", str(options.ops), capture])
    for name, words in MAPS.items():
        words = words or ["--map", "none"]
        replay = [qpmux, "replay", capture, "--profile", "clover", "--learn", "live"]
        run([*replay, "--path-mtu", "1024", *words, "--out", f"{folder}/{name}"])
    found = {name: [] for name in MAPS}
    for _ in range(options.repeat):
        for name in MAPS:
            device = f"net_pcap0,rx_pcap={folder}/{name}/ingress.pcap,tx_pcap={folder}/out.pcap"
            config = f"{folder}/{name}.toml"
            with open(config, "w", encoding="utf-8") as file:
                file.write(replayed_config(device, name))
            report = json.loads(run([live, "--config", config, "--until-idle", "100"]))
            found[name].append(report["loop_cpu_ns"] / report["ports"]["client"]["received"])
            if name != "none" and not report["mapped"]:
                raise SystemExit(f"map {name}: nothing is mapped")
    return found


def replayed_config(device, name):
    """The configuration of the replay, on one port, by the frames' clock."""
    servers = json.dumps(CLOVER_SERVERS)
    return (
        f"servers = {servers}\n[client]\nport = '{device}'\n[server]\nport = '{device}'\n"
        f"[dpdk]\neal = {json.dumps(EAL + ['-l', '1'])}\nidle_sleep_us = 1000\n"
        "[clock]\nsource = 'packets'\nunit_ns = 1000\n[metrics]\nlisten = 'off'\n"
        "[limits]\nframe_len_max = 2048\n[network]\npath_mtu = 1024\n"
        f"[policy]\nmap = '{name}'\ntrust = 'observed'\nprofile = 'clover'\n"
    )


def run(command):
    """What a command prints."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
