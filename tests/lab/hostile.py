#!/usr/bin/env python3
"""A sender that means no good: frames at full rate into one side of the wire.

    hostile.py --entrance INTERFACE --watch INTERFACE --side clients|servers --pid PID ...

It watches the real connections at the interface of a machine, and what it sends at the entrance
comes to the middlebox as if from there. A seeded mixture, in bursts:

  cut       frames cut off anywhere, some with lengths that fit the cut
  odd       wrong lengths, versions, pads, opcodes, fragments, VLAN tags, damaged headers
  noise     random bytes behind Ethernet, IPv4 or IPv6, and UDP
  forged    whole requests and answers with real queue pair numbers between strangers' addresses,
            every second one with a wrong ICRC
  unknown   requests and answers of connections that nobody has, with a right ICRC, the source
            port that shows which queue pairs belong together, and PSNs that go on
  managers  messages of connection managers that set up or take down nothing real
  copies    earlier packets of the real connections, byte for byte
  damaged   the same with some bytes changed behind the UDP header

Only if they are named:

  asking    as unknown, but request after request; answers come from the side of the requests
  tagged    copies with a VLAN tag that their connection does not have, which no CRC covers
  turned    copies between MAC addresses that nobody has: with `--watch` at the other side, answers
            that come from the side of the requests

Of what bears the addresses and queue pair numbers of a real connection, only copies have a right
ICRC: packets behind those that are expected, which the other end has to take for repeats. A packet
that is new and right in everything cannot be told from the peer's, so none is made up.

What a network card would throw away goes to a MAC address that nobody has, so that the machines,
which are slow, are not busy with that alone; `forged`, `copies` and `damaged` reach them.

It begins when it has seen enough, and ends after so many frames or seconds, or on SIGTERM. Then it
prints what it has sent as one JSON document.
"""

import argparse
import collections
import ctypes
import json
import random
import signal
import socket
import struct
import time
import zlib

ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_RCVBUFFORCE = 33
ROCE = 4791
NOBODY = bytes.fromhex("02000000feed")
STRANGER = bytes.fromhex("02000000bad0")
# How often each kind is made. `unknown` makes a round trip, two frames.
SHARES = {
    "cut": 12,
    "odd": 12,
    "noise": 8,
    "forged": 8,
    "unknown": 24,
    "managers": 4,
    "copies": 6,
    "damaged": 6,
}
APART = {"asking": 24, "tagged": 6, "turned": 6}
# Round trips of an unknown connection, enough to show which queue pairs belong together.
TRIPS = 2
# Opcodes of RC with their headers behind the BTH, in bytes, and whether a payload follows.
REQUESTS = {
    0x00: (0, True),
    0x01: (0, True),
    0x02: (0, True),
    0x04: (0, True),
    0x05: (4, True),
    0x06: (16, True),
    0x07: (0, True),
    0x08: (0, True),
    0x0A: (16, True),
    0x0B: (20, True),
    0x0C: (16, False),
    0x13: (28, False),
    0x14: (28, False),
}
ANSWERS = {0x0D: (4, True), 0x0E: (0, True), 0x0F: (4, True), 0x10: (4, True)}
ANSWERS.update({0x11: (4, False), 0x12: (12, False)})
ACK, WRITE_ONLY, UD_SEND = 0x11, 0x0A, 0x64
# Behind Ethernet without tag: IPv4 from 14, UDP from 34, BTH from 42.
IP_AT, UDP_AT, BTH_AT = 14, 34, 42


class Ends(collections.namedtuple("Ends", "macs ips")):
    """Who sends to whom."""

    def back(self):
        """The other way."""
        return Ends(self.macs[::-1], self.ips[::-1])


def address(number):
    """An IPv4 address of a network that is nobody's."""
    return bytes([10, 66 + (number >> 16) % 64, number >> 8 & 255, number & 255])


def source_port(one, other):
    """The source port that drivers derive from a connection's queue pair numbers."""
    label = one * other
    label ^= label >> 20
    label ^= label >> 40
    return (label & 0x3FFF ^ (label & 0xFC000) >> 14) | 0xC000


def icrc(ip, udp, rest):
    """Invariant CRC of an IPv4 packet (RoCEv2 annex A17)."""
    masked = bytearray(b"\xff" * 8 + ip + udp + rest)
    masked[9] = masked[16] = masked[18] = masked[19] = 255
    masked[34] = masked[35] = 255
    masked[40:41] = b"\xff" * len(masked[40:41])
    return zlib.crc32(masked).to_bytes(4, "little")


def checksum(header):
    """Of an IPv4 header."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def packet(ends, port, rest, right=True):
    """A frame of RoCEv2 around `rest`, which begins with a BTH."""
    length = len(rest) + 4 + 8
    ip = struct.pack(">BBHHHBBH", 0x45, 0, length + 20, 0, 0x4000, 64, 17, 0) + b"".join(ends.ips)
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    udp = struct.pack(">HHHH", port, ROCE, length, 0)
    last = icrc(ip, udp, rest)
    if not right:
        last = bytes([last[0] ^ 0x55]) + last[1:]
    return ends.macs[1] + ends.macs[0] + b"\x08\x00" + ip + udp + rest + last


def bth(opcode, to_qp, psn, pad=0):
    """A base transport header that asks for an answer."""
    numbers = (to_qp & 0xFFFFFF, 1 << 31 | psn & 0xFFFFFF)
    return struct.pack(">BBHII", opcode, 0x40 | pad << 4, 0xFFFF, *numbers)


class Real:
    """What was seen of the real connections."""

    def __init__(self, interface, keep):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.socket.bind((interface, 0))
        self.socket.setblocking(False)
        # Old ones stay among them, so that copies come early and late.
        self.packets, self.keep, self.seen = [], keep, 0
        self.numbers = set()

    def look(self, draw):
        """Takes in what has come since."""
        while True:
            try:
                frame = self.socket.recv(1 << 14)
            except BlockingIOError:
                return
            to_port = frame[UDP_AT + 2 : UDP_AT + 4] == ROCE.to_bytes(2, "big")
            if frame[12:15] != b"\x08\x00\x45" or frame[23] != 17 or not to_port:
                continue
            if len(frame) < BTH_AT + 16 or frame[BTH_AT] > 0x14:
                continue
            self.seen += 1
            self.numbers.add(int.from_bytes(frame[BTH_AT + 5 : BTH_AT + 8], "big"))
            if len(self.packets) < self.keep:
                self.packets.append(frame)
            else:
                self.packets[draw.randrange(self.keep)] = frame


class Forger:
    """Makes frames."""

    def __init__(self, draw, real, side, unknown, kinds):
        self.draw, self.real, self.kinds = draw, real, kinds
        self.from_clients = side == "clients"
        self.strange, self.turn = unknown, 0
        sample = real.packets[0]
        self.macs = (sample[6:12], sample[:6])
        self.ips = (sample[26:30], sample[30:34])

    def bytes(self, least, most):
        """Random ones."""
        return self.draw.randbytes(self.draw.randint(least, most))

    def strangers(self, to_machine=False):
        """Ends of which at least the sender is unknown; the receiver's address may be real."""
        sender = address(self.draw.randrange(1 << 22))
        receiver = self.ips[1] if self.draw.random() < 0.7 else address(self.draw.randrange(999))
        return Ends((STRANGER, self.macs[1] if to_machine else NOBODY), (sender, receiver))

    def number(self):
        """A queue pair number: one in use, one near it, or any."""
        real = self.draw.choice(tuple(self.real.numbers))
        return self.draw.choice((real, real, real + 1, self.draw.randrange(1 << 24)))

    def whole(self, ends, right=True):
        """A request or an answer that looks valid."""
        kinds = REQUESTS if self.draw.random() < 0.5 else ANSWERS
        opcode = self.draw.choice(tuple(kinds))
        header, payload = kinds[opcode]
        data = self.bytes(0, 1024) if payload else b""
        pad = -len(data) % 4
        rest = self.draw.randbytes(header) + data + bytes(pad)
        if opcode in (0x06, 0x0A, 0x0B, 0x0C):
            rest = rest[:12] + struct.pack(">I", len(data) or 1024) + rest[16:]
        port = self.draw.randrange(0xC000, 0x10000)
        head = bth(opcode, self.number(), self.draw.randrange(1 << 24), pad)
        return packet(ends, port, head + rest, right)

    def base(self):
        """A frame to spoil, for nobody's card: of a real connection, or of strangers."""
        if self.draw.random() < 0.5:
            return bytearray(NOBODY + self.draw.choice(self.real.packets)[6:])
        return bytearray(self.whole(self.strangers()))

    def cut(self):
        """See the head of this file, here and below."""
        frame = self.base()
        head = self.draw.random() < 0.7
        del frame[self.draw.randint(14, min(len(frame) - 1, 90) if head else len(frame) - 1) :]
        if self.draw.random() < 0.5 and len(frame) > BTH_AT:
            struct.pack_into(">H", frame, IP_AT + 2, len(frame) - IP_AT)
            struct.pack_into(">HH", frame, UDP_AT + 4, len(frame) - UDP_AT, 0)
            struct.pack_into(">H", frame, IP_AT + 10, 0)
            struct.pack_into(">H", frame, IP_AT + 10, checksum(frame[IP_AT:UDP_AT]))
        return [bytes(frame)]

    def odd(self):
        frame, draw = self.base(), self.draw
        which = draw.randrange(10)
        if which == 0:  # length of the IPv4 packet
            struct.pack_into(">H", frame, IP_AT + 2, draw.randrange(1 << 16))
        elif which == 1:  # of the UDP datagram
            struct.pack_into(">H", frame, UDP_AT + 4, draw.choice((0, 7, 8, 12, 20, 24, 65535)))
        elif which == 2:  # version and header length
            frame[IP_AT] = draw.randrange(256)
        elif which == 3:  # pad, migration and version of the transport header
            frame[BTH_AT + 1] = draw.randrange(256)
        elif which == 4:
            frame[BTH_AT] = draw.randrange(256)
        elif which == 5:  # fragments
            struct.pack_into(">H", frame, IP_AT + 6, draw.randrange(1 << 14))
        elif which == 6:
            frame[12:14] = draw.choice((b"\x86\xdd", b"\x89\x15", b"\x81\x00", b"\x88\xa8"))
        elif which == 7:  # tags
            frame = bytearray(self.whole(self.strangers()))
            frame[12:12] = (b"\x81\x00" + draw.randbytes(2)) * draw.randint(1, 5)
        elif which == 8:  # what no CRC of the transport's covers
            for at in (IP_AT + 1, IP_AT + 8, IP_AT + 10, UDP_AT + 6, BTH_AT + 4):
                frame[at] = draw.randrange(256)
        else:  # any headers, of strangers
            frame = bytearray(self.whole(self.strangers()))
            for _ in range(draw.randint(1, 8)):
                frame[draw.randrange(12, min(len(frame), 80))] = draw.randrange(256)
        return [bytes(frame)]

    def noise(self):
        ends, data = self.strangers(), self.bytes(0, 1200)
        if self.draw.random() < 0.3:
            udp = struct.pack(">HHHH", 0xC000, ROCE, len(data) + 8, 0) + data
            ip = struct.pack(">IHBB", 6 << 28, len(udp), 17, 64) + self.draw.randbytes(32)
            return [ends.macs[1] + ends.macs[0] + b"\x86\xdd" + ip + udp]
        return [packet(ends, 0xC000, data or b"?", False)]

    def forged(self):
        return [self.whole(self.strangers(to_machine=True), self.draw.random() < 0.5)]

    def unknown(self):
        return self.asking(TRIPS)

    def asking(self, trips=1 << 23):
        """The next request of the next connection, and its answer."""
        turn, self.turn = self.turn, self.turn + 1
        which, psn = turn % self.strange, min(turn // self.strange, trips - 1)
        qps = (0x800000 + which, 0xA00000 + which)
        ends = Ends((STRANGER, NOBODY), (address(which // 4), self.ips[1]))
        if not self.from_clients:
            ends = Ends((STRANGER, NOBODY), (self.ips[1], address(which // 4)))
        asks = bth(WRITE_ONLY, qps[1], psn) + struct.pack(">QII", 1 << 40, which, 64) + bytes(64)
        tells = bth(ACK, qps[0], psn) + struct.pack(">I", 0x1F000000 | psn + 1)
        port = source_port(*qps)
        return [packet(ends, port, asks), packet(ends.back(), port, tells)]

    def managers(self):
        ends = self.strangers()
        attribute = self.draw.choice((0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18))
        mad = struct.pack(">BBBBHHQHHI", 1, 7, 2, 3, 0, 0, self.turn, attribute, 0, 0)
        mad += self.draw.randbytes(232)
        datagram = struct.pack(">II", 0x80010000, 1)
        return [packet(ends, 0xC000, bth(UD_SEND, 1, 0) + datagram + mad)]

    def copies(self):
        return [self.draw.choice(self.real.packets)]

    def tagged(self):
        frame = self.draw.choice(self.real.packets)
        return [frame[:12] + b"\x81\x00\x00\x05" + frame[12:]]

    def turned(self):
        return [NOBODY + STRANGER + self.draw.choice(self.real.packets)[12:]]

    def damaged(self):
        frame = bytearray(self.draw.choice(self.real.packets))
        for _ in range(self.draw.randint(1, 4)):
            # Byte 4 of the transport header is not covered.
            at = self.draw.choice((*range(BTH_AT, BTH_AT + 4), *range(BTH_AT + 5, len(frame))))
            frame[at] ^= self.draw.randint(1, 255)
        return [bytes(frame)]

    def burst(self, frames):
        """So many frames, and what they are."""
        made, told = [], collections.Counter()
        shares = [{**SHARES, **APART}[name] for name in self.kinds]
        for name in self.draw.choices(self.kinds, shares, k=frames):
            new = getattr(self, name)()
            told[name] += len(new)
            made += new
        return made, told


class IoVec(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = [("base", ctypes.c_char_p), ("len", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """`struct msghdr`."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_len", ctypes.c_uint32),
        ("iov", ctypes.POINTER(IoVec)),
        ("iov_len", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_len", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Messages(ctypes.Structure):
    """`struct mmsghdr`."""

    _fields_ = [("message", Message), ("sent", ctypes.c_uint32)]


class Sender:
    """Sends frames, many at a time."""

    BATCH = 256

    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((interface, 0))
        self.sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg

    def send(self, frames):
        """Sends all of them. Returns how many went out, and in how many seconds."""
        vectors = (IoVec * len(frames))(*((frame, len(frame)) for frame in frames))
        messages = (Messages * len(frames))()
        for at, each in enumerate(messages):
            each.message.iov = ctypes.pointer(vectors[at])
            each.message.iov_len = 1
        size, sent, at = ctypes.sizeof(Messages), 0, 0
        begin = time.monotonic()
        while at < len(frames):
            count = min(self.BATCH, len(frames) - at)
            done = self.sendmmsg(self.socket.fileno(), ctypes.byref(messages, at * size), count, 0)
            # A frame that is refused is left out.
            sent, at = sent + max(done, 0), at + max(done, 1)
        return sent, time.monotonic() - begin


def memory_of(pid):
    """A process' resident memory in kB; 0 if it is not there."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return 0


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--entrance", required=True, help="interface to send at")
    parser.add_argument("--watch", required=True, help="interface of a real machine")
    parser.add_argument("--side", choices=["clients", "servers"], required=True)
    parser.add_argument("--pid", type=int, required=True, help="whose memory to note")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--after", type=int, default=500, help="begin after so many real packets")
    parser.add_argument("--frames", type=int, default=1_000_000, help="at most so many")
    parser.add_argument("--seconds", type=float, default=20, help="at most so long")
    parser.add_argument("--burst", type=int, default=4000, help="frames made at a time")
    parser.add_argument("--times", type=int, default=2, help="how often a burst is sent")
    parser.add_argument("--unknown", type=int, default=6000, help="unknown connections")
    parser.add_argument("--kinds", nargs="+", choices=[*SHARES, *APART], default=list(SHARES))
    return parser.parse_args()


def main():
    """Sends until it is enough."""
    options = arguments()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    draw = random.Random(options.seed)
    real, sender = Real(options.watch, 4096), Sender(options.entrance)
    while real.seen < options.after and not ended:
        real.look(draw)
        time.sleep(0.005)
    memory = []
    kinds, sent, busy, begin = collections.Counter(), 0, 0.0, time.monotonic()
    forger = None
    if real.packets:
        forger = Forger(draw, real, options.side, options.unknown, options.kinds)
    while forger and not ended and sent < options.frames:
        if time.monotonic() - begin > options.seconds:
            break
        memory.append((sent, memory_of(options.pid)))
        real.look(draw)
        made, told = forger.burst(options.burst)
        for _ in range(options.times):
            went, took = sender.send(made)
            sent, busy = sent + went, busy + took
            kinds.update(told)
    seconds = time.monotonic() - begin
    result = {"frames": sent, "seconds": round(seconds, 2), "kinds": kinds, "watched": real.seen}
    result["memory"] = memory
    result["rate"] = round(sent / seconds) if sent else 0
    result["burst_rate"] = round(sent / busy) if sent else 0
    print(json.dumps(result))


if __name__ == "__main__":
    main()
