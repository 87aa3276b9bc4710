"""What lies between the guests: their interfaces, the middlebox, and captures of both its sides.

    guests with clients             middlebox              guest with the server
      tap0 ─┐
            ├─ bridge ── clients ─ [          ] ─ servers
      tap1 ─┘

With one guest on a side its interface is `clients` or `servers` itself, with several there is a
bridge as above. For comparison, a bridge joins all of them without a middlebox.

Where somebody else is to send as well, both sides have a bridge, whatever is there: what is sent at
an entrance comes to the middlebox only. Frames for MAC addresses that nobody has are not flooded to
the guests then: a network card would throw them away.

      tap0 ── bridge ── inside ── clients ─ [    ] ─ servers ── beyond ── bridge ── tap-server
                       (entrance)                             (entrance)
"""

import json
import os
import signal
import subprocess
import time

import process

CLIENTS, SERVERS = "clients", "servers"


def ip(*words):
    """Runs ip(8)."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def lost_before(interface):
    """Frames sent at one end of a pair that the other end could not take."""
    command = ["ip", "-s", "-j", "link", "show", interface]
    found = subprocess.run(command, check=True, capture_output=True)
    return json.loads(found.stdout)[0]["stats64"]["tx"]["dropped"]


def make_tap(name, mtu):
    """Makes the host's end of a guest's interface."""
    ip("tuntap", "add", name, "mode", "tap")
    ip("link", "set", name, "mtu", str(mtu), "txqueuelen", "10000", "up")


def make_bridge(name, ports, mtu):
    """Joins interfaces; frames are not looked into."""
    ip("link", "add", name, "type", "bridge", "mcast_snooping", "0")
    for port in ports:
        ip("link", "set", port, "master", name)
    ip("link", "set", name, "mtu", str(mtu), "up")


def make_side(name, inside, taps, mtu):
    """Joins the guests of one side to an interface of the middlebox."""
    ip("link", "add", name, "type", "veth", "peer", "name", inside)
    for end in (name, inside):
        ip("link", "set", end, "mtu", str(mtu), "up")
    make_bridge(f"{inside}-bridge", [*taps, inside], mtu)


class Wire:
    """The network of a run, in this process' own namespace."""

    def __init__(self, clients, servers, options, entrances=False, two=False):
        mtu, bridged = options.mtu, options.wire == "bridge"
        ip("link", "set", "lo", "up")
        apart = [clients > 1 or entrances or two, servers > 1 or entrances or two]
        taps = [f"tap{i}" for i in range(clients)] if apart[0] else [CLIENTS]
        beyond = [f"tap-server{i}" for i in range(servers)] if apart[1] else [SERVERS]
        self.taps = [*taps, *beyond]
        for tap in self.taps:
            make_tap(tap, mtu)
        how = "script=no,downscript=no,vhost=off"
        # What QEMU is told of each guest's.
        self.links = [["-netdev", f"tap,id=n,ifname={tap},{how}"] for tap in self.taps]
        self.watched = {CLIENTS: CLIENTS, SERVERS: SERVERS}
        self.entrances = {}
        # That lead to two middleboxes.
        self.forks = ["inside-bridge", "beyond-bridge"] if two else []
        if bridged:
            make_bridge("bridge", self.taps, mtu)
            self.watched = {CLIENTS: taps[0], SERVERS: beyond[0]}
            return
        if apart[0]:
            make_side(CLIENTS, "inside", taps, mtu)
        if apart[1]:
            make_side(SERVERS, "beyond", beyond, mtu)
        if two:
            self.watched = {CLIENTS: taps[0], SERVERS: beyond[0]}
        if entrances:
            self.entrances = {CLIENTS: "inside", SERVERS: "beyond"}
            # There, what a driver sends past packet sockets is seen as well.
            self.watched = dict(self.entrances)
            for tap in self.taps:
                ip("link", "set", tap, "type", "bridge_slave", "flood", "off")

    def is_listened_at(self, pid):
        """Whether a process has packet sockets on both interfaces."""
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
            with open(f"/proc/{pid}/net/packet", encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            return False
        own = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
        # sk RefCnt Type Proto Iface R Rmem User Inode
        bound = {row[4] for row in rows if row[8] in own and row[4] != "0"}
        return len(bound) == 2

    def settle(self, _):
        """Guests do not see that the middlebox is another one. Of two, the other one may have
        forwarded in the test before: nothing is to be sent to that any more, and nobody who knows
        no address yet can say so."""
        for bridge in self.forks:
            ip("link", "set", bridge, "type", "bridge", "fdb_flush")

    def capture(self, _, folder):
        """Captures both sides in the folder."""
        return Capture(self, folder)


class Capture:
    """tcpdump on both sides."""

    def __init__(self, wire, folder):
        self.files = {side: f"{folder}/{side}.pcap" for side in wire.watched}
        self.logs = {side: f"{folder}/{side}.tcpdump" for side in wire.watched}
        self.processes = []
        for side, interface in wire.watched.items():
            # Without immediate mode the last second would be lost.
            options = ["-n", "-U", "-Z", "root", "-s", "0", "-B", "65536", "--immediate-mode"]
            command = ["tcpdump", "-i", interface, "-w", self.files[side], *options]
            self.processes.append(process.start(command, self.logs[side]))
        for log in self.logs.values():
            began = lambda log=log: "listening on" in process.tail(log)
            process.until(began, 10, "start of tcpdump")

    def stop(self):
        """Ends the capture; the files are complete then."""
        time.sleep(0.2)
        for each in self.processes:
            process.stop(each, signal.SIGINT)


def ask(program, socket, *words):
    """What a middlebox answers on its control socket; `None` if it does not."""
    command = [program, "ctl", "--socket", socket, *words]
    found = subprocess.run(command, capture_output=True, check=False, timeout=20)
    return found.stdout.decode() if found.returncode == 0 else None


def defects(counters):
    """What a middlebox counts that no test may make it count."""
    wrong = []
    if counters.get("broken"):
        wrong.append(f"the middlebox counts {counters['broken']} defects of its own")
    for name in ("server_qps_lost", "out_of_service"):
        if counters.get(name):
            wrong.append(f"the middlebox counts {counters[name]} as {name}")
    return wrong


class Middlebox:
    """The process between `clients` and `servers`."""

    def __init__(self, program, config, wire, folder):
        self.program, self.config, self.wire = program, config, wire
        self.folder, self.log = folder, f"{folder}/middlebox.log"
        self.starts, self.out = 0, None
        self.start()

    def start(self, *options):
        """Starts it. What each start prints has its own file."""
        command = [self.program, "--config", self.config, *options]
        self.out = f"{self.folder}/middlebox-{self.starts}.json"
        self.starts += 1
        with open(self.log, "ab") as errors, open(self.out, "wb") as output:
            self.process = process.start(command, os.devnull, stdout=output, stderr=errors)

    def wait(self):
        """Waits until it takes frames of both sides."""

        def listens():
            if self.process.poll() is not None:
                end = process.tail(self.log)
                raise RuntimeError(f"the middlebox ended ({self.process.returncode}): {end}")
            return self.wire.is_listened_at(self.process.pid)

        process.until(listens, 20, "start of the middlebox")

    def crash(self):
        """Kills it, and starts it again. Returns how long nothing was forwarded at least."""
        begin = time.monotonic()
        self.process.kill()
        process.stop(self.process)
        gone = lambda: not self.wire.is_listened_at(self.process.pid)
        process.until(gone, 10, "end of the middlebox")
        self.start()
        self.wait()
        return time.monotonic() - begin

    def hand_over(self):
        """Has another process take over from it. Returns how long nothing was forwarded at
        most."""
        before = self.process
        self.start("--take-over")
        listened = time.monotonic()
        while before.poll() is None and self.process.poll() is None:
            if self.wire.is_listened_at(before.pid):
                listened = time.monotonic()
            time.sleep(0.002)
        status = process.stop(before)
        if status:
            raise RuntimeError(f"the middlebox handed over with status {status}")
        self.wait()
        return time.monotonic() - listened

    def change_form(self):
        """Has another process take over that writes its journal in the other form."""
        with open(self.config, encoding="utf-8") as file:
            text = file.read()
        old = "[journal]\nform = 1\n"
        text = text.replace(old, "[journal]\n") if old in text else text.replace("[journal]\n", old)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)
        return self.hand_over()

    def report(self):
        """What it has counted, if it has a control socket in the test's folder."""
        found = ask(self.program, f"{self.folder}/control", "report")
        return json.loads(found) if found else {}

    def memory_kb(self):
        """Its resident memory."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            sizes = [line.split()[1] for line in file if line.startswith("VmRSS:")]
        return int(sizes[0])

    def stop(self):
        """Ends it. Returns its counters, and what is wrong with its end."""
        if self.process.poll() is not None:
            return {}, [f"the middlebox ended by itself ({self.process.returncode})"]
        # Translated connections are open and will break, which the second signal means.
        status = process.stop(self.process, signal.SIGTERM, patience=10, again=0.3)
        wrong = [f"the middlebox ended with status {status}"] if status else []
        try:
            with open(self.out, encoding="utf-8") as file:
                counters = json.load(file)
        except ValueError:
            return {}, [*wrong, "the middlebox printed no counters"]
        return counters, wrong + defects(counters)
