#!/usr/bin/env python3
"""Checks what the clients were answered: a capture between clients and multiplexer.

It has to be taken at the multiplexer's end of the link: loss on that link is then of no harm.

Per connection (client address, client QP, server address, server QP), PSN and MSN 24 bit:

  requested   every answer bears the PSN of a request that was sent before it
  order       answers leave in the client's PSN order; going back, or answering again, is allowed
              only after a request was repeated, once for each repeat
  msn         the MSN never goes back
  plain_ack   no plain ACK bears the PSN of a READ or an atomic
  opcode      answer and request fit: READ response to READ, atomic ACK to atomic, ACK to the rest
  read        READ responses have the right opcodes, sizes and place; after a repeated request
              they may begin in the middle of the READ
  complete    at the end nothing is unanswered, every READ has all its data
  known       every RC packet belongs to a connection of the table

A NAK or RNR NAK completes what is before its PSN and answers nothing itself; its PSN may be the
first that is missing. After a NAK that ends the connection (0x61..0x64) nothing more is awaited.

The table (--pairs FILE) is CSV, client_ip,client_qpn,server_ip,server_qpn, with or without a head
line, numbers decimal or 0x. `--pairs auto` finds the pairs by the PSNs and kinds of the answers,
for captures of which no table exists, and gives up when two pairs fit; --write-pairs keeps what it
found.
"""

import argparse
import bisect
import collections
import csv
import sys

sys.dont_write_bytecode = True
import rocecap  # noqa: E402
from rocecap import ACK, ATOMIC_ACK, READ_REQUEST, unwrap  # noqa: E402

CHECKS = ("requested", "order", "msn", "plain_ack", "opcode", "read", "complete", "known")
FATAL_NAKS = frozenset((0x61, 0x62, 0x63, 0x64))


class Request:
    """One request packet of a client: a PSN range, however often it was sent."""

    __slots__ = ("start", "count", "kind", "length", "number", "sent", "answered", "starts",
                 "skipped")

    def __init__(self, start, count, packet):
        self.start, self.count, self.number = start, count, packet.number
        self.kind = kind_of(packet)
        self.length = packet.reth()[2] if self.kind == "read" else 0
        self.sent = collections.Counter()
        self.answered = collections.Counter()
        self.starts = collections.Counter()
        self.skipped = False


def kind_of(packet):
    """How a request is answered: read, atomic, or write (that is, with an ACK)."""
    if packet.opcode == READ_REQUEST:
        return "read"
    return "atomic" if packet.opcode in rocecap.ATOMICS else "write"


class Connection:
    """The client's and the multiplexer's side of one connection."""

    def __init__(self, name, pmtu):
        self.name, self.pmtu = name, pmtu
        self.top = None
        self.starts, self.requests = [], []
        self.highest = None
        self.covered = None
        self.repeats = 0
        self.msn = None
        self.reading = None
        self.dead = False
        self.counts = collections.Counter()

    def find(self, psn):
        """The request whose PSN range includes `psn`, or None."""
        index = bisect.bisect_right(self.starts, psn) - 1
        if index < 0:
            return None
        request = self.requests[index]
        return request if psn < request.start + request.count else None

    def on_request(self, packet):
        """A packet of the client; it may have overtaken, or lost, others."""
        self.counts["requests"] += 1
        psn = packet.psn if self.top is None else unwrap(packet.psn, self.top)
        count = 1
        if packet.opcode == READ_REQUEST:
            count = max(1, -(-packet.reth()[2] // self.pmtu))
        request = self.find(psn)
        if request is None:
            request = Request(psn, count, packet)
            index = bisect.bisect_right(self.starts, psn)
            self.starts.insert(index, psn)
            self.requests.insert(index, request)
        else:
            self.repeats += 1
            self.counts["repeated_requests"] += 1
        request.starts[psn] += 1
        for each in range(psn, min(psn + count, request.start + request.count)):
            request.sent[each] += 1
        self.top = max(psn + count, self.top or 0)
        if self.covered is None:
            self.covered = psn

    def on_answer(self, packet, report):
        """A packet to the client that answers a request."""
        self.counts[packet.name] += 1
        syndrome, msn = packet.aeth() if packet.opcode in rocecap.WITH_AETH else (None, None)
        if msn is not None:
            if self.msn is not None and (msn - self.msn) & rocecap.PSN_MASK >= 1 << 23:
                report.fail("msn", packet.number, f"{self.name}: MSN {msn} after {self.msn}")
            self.msn = msn
        if self.top is None:
            report.fail("requested", packet.number, f"{self.name}: {packet.name} before a request")
            return
        psn = unwrap(packet.psn, self.top)
        if packet.opcode == ACK and syndrome >> 5 != 0:
            self.on_nak(packet, psn, syndrome, report)
            return
        request = self.find(psn)
        if request is None:
            report.fail("requested", packet.number,
                        f"{self.name}: {packet.name} for PSN {packet.psn}, not requested")
            return
        self.check_opcode(packet, request, report)
        if packet.opcode in rocecap.READ_RESPONSES and request.kind == "read":
            self.check_read(packet, psn, request, report)
        self.check_order(packet, psn, request, report)
        if packet.opcode != ACK or request.kind == "write":
            request.answered[psn] += 1
        self.covered = max(self.covered, psn + 1)

    def on_nak(self, packet, psn, syndrome, report):
        """A sequence, RNR or error NAK: all before `psn` is done."""
        self.counts[f"nak_{syndrome:#04x}"] += 1
        if psn > self.top or self.starts and psn < self.starts[0]:
            report.fail("requested", packet.number,
                        f"{self.name}: NAK {syndrome:#04x} for PSN {packet.psn}, not requested")
            return
        if psn < self.covered and not self.repeats:
            report.fail("order", packet.number,
                        f"{self.name}: NAK {syndrome:#04x} for PSN {packet.psn}, already answered")
        skipped = self.first_unanswered(psn)
        if skipped is not None:
            report.fail("order", packet.number,
                        f"{self.name}: NAK {syndrome:#04x} for PSN {packet.psn} before the answer "
                        f"to the {skipped.kind} of packet {skipped.number}")
        self.covered = max(self.covered, psn)
        self.highest = psn - 1 if self.highest is None else max(self.highest, psn - 1)
        self.dead = self.dead or syndrome in FATAL_NAKS

    def check_order(self, packet, psn, request, report):
        """In order, or one repeat for each repeated request."""
        if self.highest is None or psn > self.highest:
            skipped = self.first_unanswered(psn)
            if skipped is not None:
                report.fail("order", packet.number,
                            f"{self.name}: {packet.name} for PSN {packet.psn} before the answer "
                            f"to the {skipped.kind} of packet {skipped.number}")
            self.highest = psn
            return
        self.counts["repeated_answers"] += 1
        if packet.opcode == ACK:
            allowed = self.repeats > 0
            self.repeats -= allowed
        else:
            allowed = request.answered[psn] < request.sent[psn]
        if not allowed:
            report.fail("order", packet.number,
                        f"{self.name}: {packet.name} for PSN {packet.psn} again or going back, "
                        f"with no repeated request")

    def first_unanswered(self, psn):
        """The first READ or atomic below `psn` and not answered, once for each."""
        low = self.starts[0] if self.highest is None else self.highest
        index = max(0, bisect.bisect_right(self.starts, low) - 1)
        while index < len(self.requests) and self.requests[index].start <= psn:
            request = self.requests[index]
            last = min(psn, request.start + request.count)
            wanted = last - request.start
            missing = request.kind != "write" and len(request.answered) < wanted
            if missing and not request.skipped:
                request.skipped = True
                return request
            index += 1
        return None

    def check_opcode(self, packet, request, report):
        """Answer and request fit."""
        self.counts["answers"] += 1
        if packet.opcode == ACK:
            if request.kind != "write":
                report.fail("plain_ack", packet.number,
                            f"{self.name}: ACK for PSN {packet.psn}, of the {request.kind} in "
                            f"packet {request.number}")
            return
        want = "atomic" if packet.opcode == ATOMIC_ACK else "read"
        if request.kind != want:
            report.fail("opcode", packet.number,
                        f"{self.name}: {packet.name} for PSN {packet.psn}, of the {request.kind} "
                        f"in packet {request.number}")

    def check_read(self, packet, psn, request, report):
        """Opcode, size and sequence of a READ response."""
        last = psn == request.start + request.count - 1
        offset = (psn - request.start) * self.pmtu
        want = request.length - offset if last else self.pmtu
        have = len(packet.payload())
        if have != want:
            report.fail("read", packet.number,
                        f"{self.name}: {packet.name} for PSN {packet.psn} carries {have}, "
                        f"not {want}")
        opens = packet.opcode in (rocecap.READ_FIRST, rocecap.READ_ONLY)
        closes = packet.opcode in (rocecap.READ_LAST, rocecap.READ_ONLY)
        if closes != last:
            report.fail("read", packet.number,
                        f"{self.name}: {packet.name} at place {psn - request.start + 1} of "
                        f"{request.count}")
        asked_here = psn in request.starts and request.answered[psn] < request.sent[psn]
        if opens and not asked_here:
            report.fail("read", packet.number,
                        f"{self.name}: {packet.name} for PSN {packet.psn}, where no READ began")
        if not opens and self.reading != psn:
            if asked_here and psn > request.start:
                self.counts["resumed_without_first"] += 1
            else:
                report.fail("read", packet.number,
                            f"{self.name}: {packet.name} for PSN {packet.psn} does not continue "
                            f"the one before it")
        self.reading = None if closes else psn + 1

    def at_end(self, report):
        """Nothing is left open."""
        if self.dead:
            return
        for request in self.requests:
            if request.kind == "write":
                done = request.start < self.covered
            else:
                done = len(request.answered) == request.count
            if not done:
                report.fail("complete", request.number,
                            f"{self.name}: {request.kind} at PSN "
                            f"{request.start & rocecap.PSN_MASK} has {len(request.answered)} of "
                            f"{request.count} answers")


def read_pairs(path):
    """The connection table."""
    pairs = []
    with open(path, newline="") as file:
        for row in csv.reader(file):
            if not row or row[0].startswith("#") or row[0].strip() == "client_ip":
                continue
            if len(row) < 4:
                raise rocecap.CaptureError(f"{path}: a row needs four columns: {row}")
            client, cqpn, server, sqpn = (cell.strip() for cell in row[:4])
            pairs.append((client, int(cqpn, 0), server, int(sqpn, 0)))
    return pairs


def guess_pairs(captured):
    """Pairs each answered QP with the one request flow that asked for all its answers."""
    asked, told = collections.defaultdict(set), collections.defaultdict(set)
    for packet in captured:
        flow = packet.src, packet.dst, packet.dqpn
        if packet.opcode in rocecap.REQUESTS:
            asked[flow] |= {(kind_of(packet), packet.psn), ("any", packet.psn)}
        elif packet.opcode == ATOMIC_ACK:
            told[flow].add(("atomic", packet.psn))
        elif packet.opcode in (rocecap.READ_FIRST, rocecap.READ_ONLY):
            told[flow].add(("read", packet.psn))
        elif packet.opcode == ACK and packet.aeth()[0] >> 5 == 0:
            told[flow].add(("any", packet.psn))
    pairs = []
    for (server, client, cqpn), answers in sorted(told.items()):
        fits = [flow for flow, requests in asked.items()
                if flow[:2] == (client, server) and answers <= requests]
        if len(fits) != 1:
            raise rocecap.CaptureError(
                f"{len(fits)} request flows fit the answers to QP {cqpn} of {client}")
        pairs.append((client, cqpn, server, fits[0][2]))
    return pairs


def feed(captured, connections, report):
    """Hands each packet to its connection."""
    asking = {(c[0], c[2], c[3]): connection for c, connection in connections.items()}
    answering = {(c[2], c[0], c[1]): connection for c, connection in connections.items()}
    other = 0
    for packet in captured:
        flow = packet.src, packet.dst, packet.dqpn
        if packet.opcode in rocecap.REQUESTS and flow in asking:
            asking[flow].on_request(packet)
        elif packet.opcode in rocecap.RESPONSES and flow in answering:
            answering[flow].on_answer(packet, report)
        elif flow in asking or flow in answering:
            other += 1
        elif packet.opcode >> 5 == 0:
            report.fail("known", packet.number,
                        f"{packet.name} from {packet.src} to QP {packet.dqpn} of {packet.dst}")
    return other


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", metavar="CLIENTS.pcap")
    parser.add_argument("--pairs", required=True, metavar="FILE|auto")
    parser.add_argument("--write-pairs", metavar="FILE", help="write the table that was used")
    parser.add_argument("--pmtu", type=int, help="default: FIRST and MIDDLE packets tell, or 1024")
    parser.add_argument("--skip", default="", metavar="CHECK,..", help="checks to leave out")
    return parser.parse_args()


def main():
    """Reads the capture once, connection by connection."""
    args = arguments()
    report = rocecap.Report(CHECKS, args.skip)
    captured = list(rocecap.packets(args.capture))
    pairs = guess_pairs(captured) if args.pairs == "auto" else read_pairs(args.pairs)
    if args.write_pairs:
        with open(args.write_pairs, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("client_ip", "client_qpn", "server_ip", "server_qpn"))
            writer.writerows(pairs)
    pmtu = rocecap.guess_pmtu(captured)
    connections = {}
    for pair in pairs:
        name = f"{pair[0]}/{pair[1]}-{pair[2]}/{pair[3]}"
        connections[pair] = Connection(name, args.pmtu or pmtu(pair[0], pair[2]))
    other = feed(captured, connections, report)
    for connection in connections.values():
        connection.at_end(report)
    if not any(connection.counts for connection in connections.values()):
        report.fail("known", None, "no packet of any connection of the table")
    report.facts = {
        "capture": args.capture,
        "packets": len(captured),
        "not_client_to_server": other,
        "connections": {connection.name: dict(sorted(connection.counts.items()))
                        for connection in connections.values()},
    }
    return report.finish()


if __name__ == "__main__":
    rocecap.run(main)
