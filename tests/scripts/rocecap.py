"""Reads RoCEv2 frames out of classic pcap files (micro- and nanoseconds, either byte order).

Shared by the checkers in this folder and by nothing else: it has no code in common with qpmux,
so that a mistake in qpmux's own parser cannot hide itself.
"""

import json
import struct
import sys

PSN_MASK = 0xFFFFFF
ROCE_PORT = 4791

SEND_FIRST, SEND_MIDDLE, SEND_LAST, SEND_LAST_IMM, SEND_ONLY, SEND_ONLY_IMM = range(6)
WRITE_FIRST, WRITE_MIDDLE, WRITE_LAST, WRITE_LAST_IMM, WRITE_ONLY, WRITE_ONLY_IMM = range(6, 12)
READ_REQUEST, READ_FIRST, READ_MIDDLE, READ_LAST, READ_ONLY = range(12, 17)
ACK, ATOMIC_ACK, CAS, FETCH_ADD = range(17, 21)
SEND_LAST_INV, SEND_ONLY_INV = 0x16, 0x17

SENDS = frozenset(range(0x00, 0x06)) | {SEND_LAST_INV, SEND_ONLY_INV}
WRITES = frozenset(range(0x06, 0x0C))
ATOMICS = frozenset((CAS, FETCH_ADD))
REQUESTS = SENDS | WRITES | ATOMICS | {READ_REQUEST}
READ_RESPONSES = frozenset((READ_FIRST, READ_MIDDLE, READ_LAST, READ_ONLY))
RESPONSES = READ_RESPONSES | {ACK, ATOMIC_ACK}

FIRSTS = frozenset((SEND_FIRST, WRITE_FIRST))
MIDDLES = frozenset((SEND_MIDDLE, WRITE_MIDDLE))
LASTS = frozenset((SEND_LAST, SEND_LAST_IMM, SEND_LAST_INV, WRITE_LAST, WRITE_LAST_IMM))
WITH_RETH = frozenset((WRITE_FIRST, WRITE_ONLY, WRITE_ONLY_IMM, READ_REQUEST))
WITH_AETH = frozenset((READ_FIRST, READ_LAST, READ_ONLY, ACK, ATOMIC_ACK))
IMMEDIATE = frozenset((SEND_LAST_IMM, SEND_ONLY_IMM, WRITE_LAST_IMM, WRITE_ONLY_IMM,
                       SEND_LAST_INV, SEND_ONLY_INV))

NAMES = {
    0x00: "SEND_FIRST", 0x01: "SEND_MIDDLE", 0x02: "SEND_LAST", 0x03: "SEND_LAST_IMM",
    0x04: "SEND_ONLY", 0x05: "SEND_ONLY_IMM", 0x06: "WRITE_FIRST", 0x07: "WRITE_MIDDLE",
    0x08: "WRITE_LAST", 0x09: "WRITE_LAST_IMM", 0x0A: "WRITE_ONLY", 0x0B: "WRITE_ONLY_IMM",
    0x0C: "READ_REQUEST", 0x0D: "READ_FIRST", 0x0E: "READ_MIDDLE", 0x0F: "READ_LAST",
    0x10: "READ_ONLY", 0x11: "ACK", 0x12: "ATOMIC_ACK", 0x13: "CAS", 0x14: "FETCH_ADD",
    0x16: "SEND_LAST_INV", 0x17: "SEND_ONLY_INV",
}


class CaptureError(Exception):
    """The file is not a capture that these checkers can read."""


def records(data):
    """Yields (number from 1, original length, frame bytes) for each record of a classic pcap."""
    orders = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<",
              b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
    order = orders.get(data[:4])
    if order is None or len(data) < 24:
        raise CaptureError("not a classic pcap file")
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    if link != 1:
        raise CaptureError(f"link type {link} is not Ethernet")
    header = struct.Struct(order + "IIII")
    offset, number = 24, 0
    while offset < len(data):
        number += 1
        if offset + 16 > len(data):
            raise CaptureError(f"record {number} is cut off")
        _, _, captured, original = header.unpack_from(data, offset)
        offset += 16
        if offset + captured > len(data):
            raise CaptureError(f"record {number} is cut off")
        yield number, original, data[offset:offset + captured]
        offset += captured


class Packet:
    """One RoCEv2 frame, taken apart as far as the base transport header."""

    __slots__ = ("number", "src", "dst", "sport", "opcode", "pad", "dqpn", "ackreq", "psn",
                 "body", "network", "version")

    @property
    def name(self):
        """The opcode in words."""
        return NAMES.get(self.opcode, f"opcode {self.opcode:#04x}")

    def reth(self):
        """(virtual address, rkey, length) of a packet that has a RETH."""
        return struct.unpack_from(">QII", self.body)

    def atomic(self):
        """(virtual address, rkey, swap or add, compare) of a CAS or FETCH_ADD."""
        return struct.unpack_from(">QIQQ", self.body)

    def aeth(self):
        """(syndrome, MSN) of a packet that has an AETH."""
        word = struct.unpack_from(">I", self.body)[0]
        return word >> 24, word & PSN_MASK

    def payload(self):
        """What the packet carries behind its headers, without the padding."""
        skip = 0
        if self.opcode in WITH_RETH:
            skip = 16
        elif self.opcode in ATOMICS:
            skip = 28
        elif self.opcode == ATOMIC_ACK:
            skip = 12
        elif self.opcode in WITH_AETH:
            skip = 4
        if self.opcode in IMMEDIATE:
            skip += 4
        return self.body[skip:len(self.body) - self.pad]


def header_length(opcode):
    """Length of the extension headers between the BTH and the payload."""
    length = 4 if opcode in IMMEDIATE else 0
    if opcode in WITH_RETH:
        return length + 16
    if opcode in ATOMICS:
        return length + 28
    if opcode == ATOMIC_ACK:
        return length + 12
    return length + (4 if opcode in WITH_AETH else 0)


def address(raw):
    """An IPv4 or IPv6 address as text."""
    if len(raw) == 4:
        return ".".join(map(str, raw))
    return ":".join(raw[i:i + 2].hex() for i in range(0, 16, 2))


def network_bytes(frame):
    """(IP version, bytes from the IP header on, offset of UDP, length wanted), None if not UDP."""
    offset = 12
    kind = frame[offset:offset + 2]
    while kind in (b"\x81\x00", b"\x88\xa8"):
        offset += 4
        kind = frame[offset:offset + 2]
    start = offset + 2
    if kind == b"\x08\x00" and len(frame) >= start + 28:
        header = (frame[start] & 15) * 4
        total = struct.unpack_from(">H", frame, start + 2)[0]
        fragment = struct.unpack_from(">H", frame, start + 6)[0] & 0x3FFF
        if frame[start + 9] != 17 or fragment or header < 20:
            return None
        return 4, frame[start:start + total], header, total
    if kind == b"\x86\xdd" and len(frame) >= start + 48:
        total = 40 + struct.unpack_from(">H", frame, start + 4)[0]
        if frame[start + 6] != 17:
            return None
        return 6, frame[start:start + total], 40, total
    return None


def parse(number, frame):
    """The Packet in `frame`, or None if it is not RoCEv2."""
    found = network_bytes(frame)
    if found is None:
        return None
    version, network, udp, total = found
    sport, dport = struct.unpack_from(">HH", network, udp)
    if dport != ROCE_PORT:
        return None
    if len(network) < total or total < udp + 8 + 12 + 4:
        raise CaptureError(f"packet {number} is cut off: captured with too small a snap length?")
    packet = Packet()
    packet.number, packet.sport, packet.version = number, sport, version
    if version == 4:
        packet.src, packet.dst = address(network[12:16]), address(network[16:20])
    else:
        packet.src, packet.dst = address(network[8:24]), address(network[24:40])
    bth = udp + 8
    opcode, flags = network[bth], network[bth + 1]
    packet.opcode, packet.pad = opcode, flags >> 4 & 3
    packet.dqpn = struct.unpack_from(">I", network, bth + 4)[0] & PSN_MASK
    word = struct.unpack_from(">I", network, bth + 8)[0]
    packet.ackreq, packet.psn = bool(word >> 31), word & PSN_MASK
    packet.body, packet.network = network[bth + 12:-4], network
    if len(packet.body) < header_length(opcode) + packet.pad:
        raise CaptureError(f"packet {number} ({packet.name}) is shorter than its headers")
    return packet


def packets(path):
    """All RoCEv2 packets of a capture, in its order."""
    with open(path, "rb") as file:
        data = file.read()
    for number, _, frame in records(data):
        packet = parse(number, frame)
        if packet is not None:
            yield packet


def unwrap(psn, near):
    """The integer that is `psn` modulo 2^24 and closest to `near`, ties counting as behind."""
    ahead = (psn - near) & PSN_MASK
    return near + (ahead if ahead < 1 << 23 else ahead - (1 << 24))


def guess_pmtu(captured, default=1024):
    """Path MTU for each address pair (unordered): what FIRST and MIDDLE packets carry."""
    seen = {}
    full = FIRSTS | MIDDLES | {READ_FIRST, READ_MIDDLE}
    for packet in captured:
        if packet.opcode in full:
            key = frozenset((packet.src, packet.dst))
            seen[key] = max(seen.get(key, 0), len(packet.payload()))
    return lambda a, b: seen.get(frozenset((a, b)), default)


class Report:
    """The verdict of a checker: named checks, each with the packets that broke it."""

    def __init__(self, checks, skip="", limit=20):
        self.checks = {name: {"status": "pass", "failed": 0, "failures": []} for name in checks}
        self.limit = limit
        self.facts = {}
        for name in filter(None, skip.split(",")):
            if name not in self.checks:
                raise CaptureError(f"no check is called {name!r}; there are {', '.join(checks)}")
            self.checks[name] = {"status": "skipped", "why": "asked for", "failed": 0,
                                 "failures": []}

    def fail(self, check, packet, text):
        """Counts a failure at `packet` (a number, or None for the capture as a whole)."""
        entry = self.checks[check]
        if entry["status"] == "skipped":
            return
        entry["status"] = "fail"
        entry["failed"] += 1
        if len(entry["failures"]) < self.limit:
            entry["failures"].append({"packet": packet, "what": text})

    def not_applicable(self, check, why):
        """Says that the capture has nothing that `check` could be about."""
        if self.checks[check]["status"] == "pass":
            self.checks[check].update(status="skipped", why=why)

    def finish(self):
        """Prints the report as JSON, the failures for people too, and returns the exit status."""
        ok = all(entry["status"] != "fail" for entry in self.checks.values())
        print(json.dumps({"ok": ok, **self.facts, "checks": self.checks}, indent=2))
        for name, entry in self.checks.items():
            for failure in entry["failures"][:3]:
                print(f"FAIL {name}: packet {failure['packet']}: {failure['what']}",
                      file=sys.stderr)
            if entry["failed"] > 3:
                print(f"FAIL {name}: {entry['failed']} in all", file=sys.stderr)
        return 0 if ok else 1


def run(main):
    """Calls `main` and turns a bad input into exit status 2."""
    try:
        sys.exit(main())
    except (CaptureError, OSError, ValueError) as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
