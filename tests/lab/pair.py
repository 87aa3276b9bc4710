"""Two middleboxes between the same machines, of which one forwards and the other stands by.

      tap0 ── bridge ── inside ── clients ─ [ A ] ─ servers ── beyond ── bridge ── tap-server
                └────── inside2 ─ clients2  [ B ]  servers2 ── beyond2 ─────┘

They hear each other on the loopback interface, which can be cut.
"""

import json
import os
import signal
import time

import process
from wire import CLIENTS, SERVERS, ask, defects, ip

# The second one's interfaces.
SECOND = "2"
PORT = 7471
# Of their numbers. DPDK's net_af_packet calls a port's group of sockets by the number of the
# process, with each bit changed that is set in the interface's. If both hosts come to the same
# name, the later one cannot open its port: these numbers are far from the others'.
FIRST_INDEX = 0x5A00


class Host:
    """One of both."""

    def __init__(self, program, config, folder, name):
        self.program, self.config, self.name = program, config, name
        self.socket = f"{folder}/{name}/control"
        self.folder, self.log = folder, f"{folder}/{name}.log"
        self.starts, self.out, self.process = 0, None, None

    def start(self):
        """Starts it. What each start prints has its own file."""
        command = [self.program, "--config", self.config]
        self.out = f"{self.folder}/{self.name}-{self.starts}.json"
        self.starts += 1
        with open(self.log, "ab") as errors, open(self.out, "wb") as output:
            self.process = process.start(command, os.devnull, stdout=output, stderr=errors)

    def ctl(self, *words):
        """Asks it; `None` if there is no answer."""
        return ask(self.program, self.socket, *words)

    def stage(self):
        """How far it is."""
        found = self.ctl("standby", "--json")
        return json.loads(found)["stage"] if found else None

    def report(self):
        """What it has counted; nothing if it does not forward."""
        found = self.ctl("report")
        return json.loads(found) if found else {}


class Pair:
    """Both, as one middlebox."""

    def __init__(self, program, config, wire, folder):
        self.wire, self.folder = wire, folder
        with open(config, encoding="utf-8") as file:
            text = file.read()
        self.hosts = [self.host(program, text, i) for i in range(2)]
        for host in self.hosts:
            host.start()

    def host(self, program, text, i):
        """One of them, not started."""
        name, addresses = "AB"[i], [f"127.0.1.{n + 1}:{PORT}" for n in range(2)]
        os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        begins = ["speaking", "standing-by"][i]
        words = {"@HOST@": name, "@LISTEN@": addresses[i], "@PEER@": addresses[1 - i]}
        words.update({"@BEGINS@": begins, "@SECOND@": SECOND if i else ""})
        for word, value in words.items():
            text = text.replace(word, value)
        config = f"{self.folder}/{name}.toml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        return Host(program, config, self.folder, name)

    @property
    def process(self):
        """The speaker's."""
        return self.speaker().process

    def speaker(self):
        """Who forwards."""
        found = [host for host in self.hosts if self.wire.is_listened_at(host.process.pid)]
        return found[0] if found else self.hosts[0]

    def wait(self):
        """Waits until one forwards and the other one could."""

        def paired():
            for host in self.hosts:
                if host.process.poll() is not None:
                    end = process.tail(host.log)
                    raise RuntimeError(f"{host.name} ended ({host.process.returncode}): {end}")
            stages = sorted(str(host.stage()) for host in self.hosts)
            return stages == ["level", "paired"] and self.listeners() == 1

        process.until(paired, 40, f"start of both ({[host.stage() for host in self.hosts]})")

    def listeners(self):
        """How many of them have ports."""
        return sum(self.wire.is_listened_at(host.process.pid) for host in self.hosts)

    def report(self):
        """What the speaker has counted."""
        return self.speaker().report()

    def two_whole_sides(self):
        """The same once the other one has all records: it may have gone on unasked, on a
        busy machine, and who then loses the only one that has any, loses the connections."""
        self.wait()
        return self.two_sides()

    def two_sides(self):
        """Who forwards, and who stands by."""
        speaker = self.speaker()
        return speaker, next(host for host in self.hosts if host is not speaker)

    def follow(self, other, begin, seconds=20):
        """Waits until the other host forwards. Returns how long nobody did at most."""
        forwards = lambda: self.wire.is_listened_at(other.process.pid)
        process.until(forwards, seconds, f"{other.name} to go on")
        return time.monotonic() - begin

    def crash(self):
        """The speaker is killed; the other one goes on, and then the killed one stands by."""
        speaker, other = self.two_whole_sides()
        begin = time.monotonic()
        speaker.process.kill()
        process.stop(speaker.process)
        gap = self.follow(other, begin)
        speaker.start()
        self.wait()
        return gap

    def restart(self):
        """The speaker is killed, and started again at once; who goes on is not said."""
        speaker, _ = self.two_sides()
        begin = time.monotonic()
        speaker.process.kill()
        process.stop(speaker.process)
        speaker.start()
        process.until(lambda: self.listeners() == 1, 20, "one to go on")
        gap = time.monotonic() - begin
        self.wait()
        return gap

    def hand_over(self):
        """The speaker hands over, and stands by."""
        speaker, other = self.two_whole_sides()
        begin = time.monotonic()
        if speaker.ctl("hand-over") is None:
            raise RuntimeError(f"{speaker.name} does not hand over")
        gap = self.follow(other, begin)
        self.wait()
        return gap

    def stand_still(self):
        """The speaker stands still until the other one has gone on, and a bit longer."""
        speaker, other = self.two_whole_sides()
        begin = time.monotonic()
        speaker.process.send_signal(signal.SIGSTOP)
        gap = self.follow(other, begin)
        time.sleep(0.5)
        speaker.process.send_signal(signal.SIGCONT)
        self.wait()
        return gap

    def cut(self):
        """They do not hear each other for a while. One at most has ports all the time."""
        begin = time.monotonic()
        ip("link", "set", "lo", "down")
        most, silent = 1, begin
        while time.monotonic() < begin + 6:
            now = self.listeners()
            most = max(most, now)
            if not now:
                silent = time.monotonic()
        ip("link", "set", "lo", "up")
        if most > 1:
            raise RuntimeError("both have forwarded")
        self.wait()
        return silent - begin

    def stop(self):
        """Ends both. Returns the speaker's counters, and what is wrong with the end."""
        speaker, other = self.two_sides()
        counters, wrong = speaker.report(), []
        # In this order, or the other one goes on, and misses that it is to stop.
        for host in (other, speaker):
            if host.process.poll() is not None:
                wrong.append(f"{host.name} ended by itself ({host.process.returncode})")
            status = process.stop(host.process, signal.SIGTERM, patience=10, again=0.3)
            wrong += [f"{host.name} ended with status {status}"] if status else []
        if not counters:
            return {}, [*wrong, "nobody has counted anything"]
        return counters, wrong + defects(counters)


def second_interfaces(mtu):
    """The interfaces of the second one, at the bridges of the first."""
    for number, (name, inside) in enumerate(((CLIENTS, "inside"), (SERVERS, "beyond"))):
        ends, index = (name + SECOND, inside + SECOND), str(FIRST_INDEX + number)
        ip("link", "add", ends[0], "index", index, "type", "veth", "peer", "name", ends[1])
        for end in ends:
            ip("link", "set", end, "mtu", str(mtu), "up")
        ip("link", "set", ends[1], "master", f"{inside}-bridge")
