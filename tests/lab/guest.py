"""A virtual machine with a soft-RoCE device, and commands in it."""

import os
import re
import socket
import time

import process

# A frame is on the wire what it is in the guest: nobody completes, merges or splits it.
PLAIN = ",".join(
    f"{name}=off"
    for name in (
        "csum,guest_csum,gso,guest_tso4,guest_tso6,guest_ufo,guest_ecn,"
        "host_tso4,host_tso6,host_ufo,host_ecn"
    ).split(",")
)
FIRMWARE = "/usr/share/qemu/qboot.rom"
CPU = {
    "tcg": ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"],
    "kvm": ["-accel", "kvm", "-cpu", "host"],
}
MEMORY_MB = 192
ANSWER = re.compile(rb"(\d+) (\d+) (\d+)\n")


class Guest:
    """One machine with one processor; machine i has the address 10.9.0.<i + 1>. QEMU is told of
    its network, `n`, in the words of `link`."""

    def __init__(self, number, link, folder, mtu, accelerator):
        self.name = f"guest{number}"
        self.address = f"10.9.0.{number + 1}"
        self.console = f"{folder}/{self.name}.console"
        self.log = f"{folder}/{self.name}.qemu"
        self.control = f"{folder}/{self.name}.control"
        self.socket = None
        self.received = b""
        self.requests = 0
        kernel_line = (
            "console=ttyS0 quiet panic=-1 mitigations=off nokaslr "
            f"lab.address={self.address}/24 lab.mtu={mtu}"
        )
        mac = f"02:00:00:00:09:{number + 1:02x}"
        command = ["qemu-system-x86_64", "-name", self.name, "-M", "q35", "-smp", "1"]
        command += CPU[accelerator]
        command += ["-bios", FIRMWARE] if os.path.exists(FIRMWARE) else []
        command += ["-m", str(MEMORY_MB), "-nodefaults", "-no-reboot", "-display", "none"]
        command += ["-kernel", f"{folder}/kernel", "-initrd", f"{folder}/files"]
        command += ["-append", kernel_line]
        command += ["-serial", f"file:{self.console}"]
        command += ["-serial", f"unix:{self.control},server=on,wait=off"]
        command += [*link, "-device", f"virtio-net-pci,netdev=n,mac={mac},romfile=,{PLAIN}"]
        self.process = process.start(command, self.log)

    def wait_ready(self, seconds=120):
        """Waits until the machine takes commands."""

        def ready():
            if self.process.poll() is not None:
                end = process.tail(self.log) + process.tail(self.console)
                raise RuntimeError(f"{self.name} ended ({self.process.returncode}): {end}")
            return "lab: ready" in process.tail(self.console, 1 << 20)

        try:
            process.until(ready, seconds, f"start of {self.name}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {process.tail(self.console)}") from None
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self.control)
        state = self.run("cat /sys/class/infiniband/rxe0/ports/1/state")[1]
        if "ACTIVE" not in state:
            raise RuntimeError(f"{self.name}: no RDMA device: {process.tail(self.console)}")

    def start(self, command, limit):
        """Starts a command beside others; it is killed after `limit` seconds. Returns its
        number."""
        name = f"/tmp/{self.requests + 1}"
        job = f"timeout -s KILL {limit} {command} >{name}.output; echo $? >{name}.status"
        status, output = self.ask(f"({job}) 2>&1 &", 20)
        if status:
            raise RuntimeError(f"{self.name}: cannot start {command}: {output}")
        return self.requests

    def finish(self, number, seconds):
        """Waits for such a command. Returns its exit status and output."""
        name = f"/tmp/{number}"
        wait = f"until [ -s {name}.status ]; do sleep 0.05; done; cat {name}.output"
        return self.ask(f"{wait}; exit $(cat {name}.status)", seconds)

    def run(self, command, limit=30):
        """Runs a shell command to its end. Returns its exit status and output."""
        quoted = "'" + command.replace("'", "'\\''") + "'"
        return self.ask(f"timeout -s KILL {limit} sh -c {quoted}", limit + 10)

    def lose(self, percent):
        """Loses that share of all frames from now on, of those sent and of those received."""
        sent = f"/bin/tc qdisc add dev eth0 root netem limit 10000 loss {percent}%"
        # The action is given one in how many.
        one_in = round(100 / percent)
        action = f"action pass random netrand drop {one_in}"
        received = f"/bin/tc filter add dev eth0 ingress matchall {action}"
        status, output = self.run(f"{sent} && /bin/tc qdisc add dev eth0 ingress && {received}")
        if status:
            raise RuntimeError(f"{self.name}: cannot lose frames: {output}")

    def lose_no_more(self):
        """Ends that. Returns how many frames were lost when sent, and when received."""
        lost = []
        for what in ("qdisc show dev eth0 root", "filter show dev eth0 ingress"):
            found = re.search(r"dropped (\d+)", self.run(f"/bin/tc -s {what}")[1])
            lost.append(int(found[1]) if found else 0)
        self.run("/bin/tc qdisc del dev eth0 root; /bin/tc qdisc del dev eth0 ingress")
        return lost

    def ask(self, command, seconds):
        """Sends a request, and waits for the answer: exit status and output."""
        self.requests += 1
        self.socket.sendall(f"{self.requests} {command}\n".encode())
        end = time.monotonic() + seconds
        while True:
            number, status, output = self.take_answer()
            if number == self.requests:
                return status, output
            if number is not None:
                continue  # to a request that was given up
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self.name}: no answer in {seconds} s to: {command}")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 16)
            except socket.timeout:
                continue
            if not data:
                raise RuntimeError(f"{self.name} ended: {process.tail(self.console)}")
            self.received += data

    def take_answer(self):
        """Takes an answer out of what was received: number, exit status and output."""
        head = ANSWER.match(self.received)
        if not head or len(self.received) < head.end() + int(head[3]):
            return None, None, None
        end = head.end() + int(head[3])
        output, self.received = self.received[head.end() : end], self.received[end:]
        return int(head[1]), int(head[2]), output.decode(errors="replace")
