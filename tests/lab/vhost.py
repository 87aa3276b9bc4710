"""Guests that are connected to the middlebox by vhost-user: it reads and writes their memory.

    guest with clients               middlebox               guest with the server
      virtio ── clients.sock ── [ net_vhost  net_vhost ] ── servers.sock ── virtio

There is no interface of the kernel, so nothing else can be joined: there is one guest on each side,
and what passes is seen by the middlebox alone.

In the middlebox's configuration, `@LAB@` is the lab's folder, where the sockets are. Which side
listens there is up to the configuration: with `client=1` QEMU does. Guests stay when the middlebox
goes, and see their link go down until there is another.
"""

import os
import signal
import tomllib

import cases
import process
from guest import MEMORY_MB

LAB = "@LAB@"
# Of the address of a socket, sun_path without the zero at its end.
PATH_MAX = 107
# Row of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path
STATE, PATH, CONNECTED = 5, 7, "03"
# Of the middlebox's captures: the longest frame, and for longer than any test.
SNAP, SECONDS = 9216, 86400


def arguments_of(device):
    """What stands behind the name of a port of vhost-user."""
    driver, *words = device.split(",")
    if not driver.startswith("net_vhost"):
        raise RuntimeError(f"port '{device}': must be one of net_vhost")
    arguments = dict(word.partition("=")[::2] for word in words)
    path = arguments.get("iface", "")
    if not os.path.isabs(path) or len(os.fsencode(path)) > PATH_MAX:
        raise RuntimeError(f"port '{device}': iface must be absolute, {PATH_MAX} bytes at most")
    return arguments


def qemu_words(arguments):
    """QEMU's end of such a port."""
    role = "server=on,wait=off" if arguments.get("client") == "1" else "reconnect=1"
    memory = f"memory-backend-memfd,id=mem,size={MEMORY_MB}M,share=on"
    words = ["-object", memory, "-machine", "memory-backend=mem"]
    words += ["-chardev", f"socket,id=vhost,path={arguments['iface']},{role}"]
    # Emulated processors and message-signalled interrupts make QEMU 7.2 end with SIGSEGV.
    words += ["-global", "virtio-net-pci.vectors=0"]
    return [*words, "-netdev", "vhost-user,id=n,chardev=vhost"]


class VhostWire:
    """What joins the two guests of a run."""

    def __init__(self, config, folder):
        with open(config, encoding="utf-8") as file:
            told = tomllib.loads(file.read().replace(LAB, folder))
        try:
            ports = [told[side]["port"] for side in ("client", "server")]
        except KeyError as error:
            raise RuntimeError(f"{config}: there is no {error}, which --vhost needs") from None
        arguments = [arguments_of(port) for port in ports]
        self.links = [qemu_words(each) for each in arguments]
        self.sockets = {each["iface"] for each in arguments}

    def is_listened_at(self, _):
        """Whether both sockets are connected. The end that has listened has their names."""
        with open("/proc/net/unix", encoding="utf-8") as file:
            rows = [line.split() for line in file]
        connected = [row[PATH] for row in rows if len(row) > PATH and row[STATE] == CONNECTED]
        return self.sockets <= set(connected)

    def settle(self, guests):
        """Waits until the guests have seen the middlebox come back, and reach each other."""
        active = "grep -q ACTIVE /sys/class/infiniband/rxe0/ports/1/state"
        for guest in guests:
            cases.wait_in(guest, active, "link")
        first, last = guests[0], guests[-1]
        cases.wait_in(first, f"ping -q -c 1 -W 1 {last.address} >/dev/null", "network")

    def capture(self, box, folder):
        """Captures in the folder what the middlebox sees, if it can be asked to."""
        with open(box.config, "rb") as file:
            control = tomllib.load(file).get("control", {}).get("socket")
        return ControlCapture(box, control, folder) if control else None


class ControlCapture:
    """What the middlebox itself writes down, of both its sides in one file."""

    def __init__(self, box, control, folder):
        self.box = box
        self.file = f"{folder}/both.pcap"
        log = f"{folder}/capture.log"
        command = [box.program, "ctl", "--socket", control, "capture", self.file]
        command += ["--snap", str(SNAP), "--for", str(SECONDS)]
        self.process = process.start(command, log)

        def began():
            if self.process.poll() is not None:
                raise RuntimeError(f"no capture: {process.tail(log)}")
            return "capture into" in process.tail(box.log)

        process.until(began, 10, "start of the capture")

    def stop(self):
        """Ends the capture; the file is complete then, unless the middlebox has ended before."""
        if self.process.poll() is not None:
            return
        process.stop(self.process, signal.SIGINT)
        written = lambda: os.path.exists(self.file) or self.box.process.poll() is not None
        process.until(written, 20, "end of the capture")
