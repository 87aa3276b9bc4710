#!/usr/bin/env python3
"""Checks what the servers were sent: a capture taken between the multiplexer and the servers.

Per server queue pair (server address and destination QP of the requests; 24-bit wrap everywhere):

  dense           PSNs of first transmissions have no hole; a READ takes max(1, ceil(len/PMTU))
  retransmission  a resend equals the first in opcode, headers and payload; a READ may be
                  resumed in its middle, with its address and length moved on accordingly
  source          one source address and one UDP source port
  ackreq          the last packet of every message asks for an acknowledgement
  message         FIRST, MIDDLE.., LAST of a message with nothing else between, none unfinished
  length          payloads agree with the length in the RETH and with the path MTU

Per server, for a key-value workload whose record has its key as a little-endian u64:

  key             each key in a WRITE ONLY of the given size is on one server queue pair
  word            each CAS address is on one server queue pair
  rank            the CAS of a key is on the server queue pair of that key's WRITEs

`rank` holds for workloads where key = PREFIX + rank and the CAS goes to base + 8 * rank. The base
is solved from the data (--cas-base auto), per server and rkey, without looking at any queue pair:
the swap value names the record, WRITE address = C + swap * record size, so the C under which most
CASes find their WRITE joins the two, and CAS address - 8 * rank must then come out the same for
all (most of them: a CAS with a wrong address is to be found, not to hide the base). Where the
swap values name no record, the base is the one under which the CAS addresses are the addresses of
written keys; more than one such base is a failure, not a guess.
"""

import argparse
import bisect
import collections
import sys

sys.dont_write_bytecode = True
import rocecap  # noqa: E402
from rocecap import CAS, READ_REQUEST, WRITE_ONLY, unwrap  # noqa: E402

CHECKS = ("dense", "retransmission", "source", "ackreq", "message", "length", "key", "word",
          "rank")
RANKS = 1 << 32


class ServerQp:
    """What one server queue pair has been sent so far."""

    def __init__(self, packet, pmtu):
        self.pmtu = pmtu
        self.source = (packet.src, packet.sport)
        self.next = packet.psn
        self.starts, self.firsts = [], []
        self.open = None
        self.previous = None
        self.counts = collections.Counter()

    def psns(self, packet):
        """How many PSNs the packet takes."""
        if packet.opcode != READ_REQUEST:
            return 1
        return max(1, -(-packet.reth()[2] // self.pmtu))

    def first_at(self, psn):
        """The first transmission whose PSNs include `psn`, with its own PSN, or None."""
        index = bisect.bisect_right(self.starts, psn) - 1
        if index < 0:
            return None
        start, packet = self.starts[index], self.firsts[index]
        return (start, packet) if psn < start + self.psns(packet) else None


def content(packet):
    """What must not change between transmissions of a packet."""
    return packet.opcode, packet.pad, packet.body


def on_retransmission(qp, packet, psn, report):
    """A PSN below the next one."""
    qp.counts["retransmissions"] += 1
    found = qp.first_at(psn)
    if found is None:
        report.fail("retransmission", packet.number,
                    f"{packet.name} at PSN {packet.psn}, of which no first was seen")
        return
    start, first = found
    if start == psn and content(first) == content(packet):
        return
    if packet.opcode == READ_REQUEST == first.opcode:
        done = (psn - start) * qp.pmtu
        address, rkey, length = first.reth()
        if packet.reth() == (address + done, rkey, length - done):
            qp.counts["resumed_reads"] += 1
            return
    report.fail("retransmission", packet.number,
                f"{packet.name} at PSN {packet.psn} differs from {first.name} in packet "
                f"{first.number}")


def on_message(qp, packet, psn, report):
    """Message structure, at a first transmission."""
    payload = len(packet.payload())
    inside = packet.opcode in rocecap.MIDDLES or packet.opcode in rocecap.LASTS
    if inside:
        if qp.open is None:
            report.fail("message", packet.number, f"{packet.name} outside a message")
        elif qp.previous != psn - 1:
            report.fail("message", packet.number,
                        f"something came between PSN {packet.psn} and the one before it")
    elif qp.open is not None:
        report.fail("message", packet.number,
                    f"{packet.name} inside the message of packet {qp.open[0]}")
        qp.open = None
    if packet.opcode in rocecap.FIRSTS:
        declared = packet.reth()[2] if packet.opcode == rocecap.WRITE_FIRST else None
        qp.open = [packet.number, packet.opcode in rocecap.WRITES, declared, 0]
    if qp.open is not None:
        if qp.open[1] != (packet.opcode in rocecap.WRITES):
            report.fail("message", packet.number, f"{packet.name} in a message of another kind")
        qp.open[3] += payload
    full = packet.opcode in rocecap.FIRSTS or packet.opcode in rocecap.MIDDLES
    if full and payload != qp.pmtu:
        report.fail("length", packet.number, f"{packet.name} carries {payload}, not the PMTU")
    if payload > qp.pmtu:
        report.fail("length", packet.number, f"{packet.name} carries {payload} > {qp.pmtu}")
    if packet.opcode in (WRITE_ONLY, rocecap.WRITE_ONLY_IMM) and packet.reth()[2] != payload:
        report.fail("length", packet.number, f"RETH says {packet.reth()[2]}, there are {payload}")
    if packet.opcode in rocecap.LASTS and qp.open is not None:
        if qp.open[2] not in (None, qp.open[3]) or payload == 0:
            report.fail("length", packet.number,
                        f"RETH said {qp.open[2]}, the message has {qp.open[3]}")
        qp.open = None


def on_request(qp, packet, report):
    """One request packet, in the order of the capture."""
    qp.counts["packets"] += 1
    qp.counts[packet.name] += 1
    if (packet.src, packet.sport) != qp.source:
        report.fail("source", packet.number,
                    f"from {packet.src} port {packet.sport}, before from {qp.source[0]} "
                    f"port {qp.source[1]}")
    ends = packet.opcode not in rocecap.FIRSTS and packet.opcode not in rocecap.MIDDLES
    if ends and not packet.ackreq:
        report.fail("ackreq", packet.number, f"{packet.name} at PSN {packet.psn}")
    psn = unwrap(packet.psn, qp.next)
    if psn < qp.next:
        on_retransmission(qp, packet, psn, report)
    else:
        if psn > qp.next:
            report.fail("dense", packet.number,
                        f"PSN {packet.psn}, {psn - qp.next} beyond the next one")
        on_message(qp, packet, psn, report)
        qp.starts.append(psn)
        qp.firsts.append(packet)
        qp.next = psn + qp.psns(packet)
    qp.previous = psn


class Workload:
    """Where keys and compare-and-swap words have been, on one server."""

    def __init__(self, args):
        self.args = args
        self.keys = collections.defaultdict(dict)
        self.words = collections.defaultdict(dict)
        self.swaps = []
        self.records = {}

    def add(self, packet):
        """Notes a first transmission."""
        if packet.opcode == WRITE_ONLY:
            payload = packet.payload()
            end = self.args.key_offset + self.args.key_size
            if len(payload) == self.args.write_len >= end:
                key = int.from_bytes(payload[self.args.key_offset:end], "little")
                self.keys[key].setdefault(packet.dqpn, packet.number)
                address, rkey, _ = packet.reth()
                self.records[rkey, address] = key
            elif self.args.word_writes and len(payload) == 8:
                address, rkey, _ = packet.reth()
                self.add_word(packet, rkey, address, int.from_bytes(payload, "little"))
        elif packet.opcode == CAS:
            address, rkey, swap, _ = packet.atomic()
            self.add_word(packet, rkey, address, swap)

    def add_word(self, packet, rkey, address, swap):
        """Notes an access that installs `swap` in the word at `address`."""
        self.words[rkey, address].setdefault(packet.dqpn, packet.number)
        self.swaps.append((packet, rkey, address, swap))

    def rank(self, key):
        """The rank of a key, or None if the key has not the prefix."""
        rank = key - self.args.key_prefix
        return rank if 0 <= rank < RANKS else None


def join_by_swap(workload, swaps, addresses):
    """{index of CAS: key} from swap values that name a record, or {} if they do not."""
    size = workload.args.write_len
    votes = collections.Counter()
    probe = [swap for _, _, _, swap in swaps[:: max(1, len(swaps) // 16)]]
    for swap in probe:
        votes.update(address - swap * size for address in addresses)
    if not votes:
        return {}
    ((origin, _),) = votes.most_common(1)
    found = {index: addresses[origin + swap * size]
             for index, (_, _, _, swap) in enumerate(swaps) if origin + swap * size in addresses}
    return found if len(found) * 10 >= len(swaps) * 9 else {}


def solve_base(workload, swaps, rkey):
    """(base or None, how) of the CAS words of one rkey."""
    if workload.args.cas_base != "auto":
        return int(workload.args.cas_base, 0), "given"
    addresses = {address: key for (of, address), key in workload.records.items() if of == rkey}
    joined = join_by_swap(workload, swaps, addresses)
    bases = collections.Counter(
        swaps[index][2] - 8 * workload.rank(key) for index, key in joined.items()
        if workload.rank(key) is not None)
    if bases:
        ((base, votes),) = bases.most_common(1)
    if bases and votes * 2 > len(swaps):
        return base, f"swap values name the records: {votes} of {len(swaps)} CASes agree"
    ranks = {workload.rank(key) for key in addresses.values()} - {None}
    words = {address for _, _, address, _ in swaps}
    lowest = min(words)
    fits = [lowest - 8 * rank for rank in ranks
            if all((word - lowest) % 8 == 0 and rank + (word - lowest) // 8 in ranks
                   for word in words)]
    if len(fits) == 1:
        return fits[0], "the only base under which all CAS addresses are of written keys"
    return None, f"{len(fits)} bases fit the data"


def check_ranks(server, workload, report):
    """The CAS of a key goes where the WRITEs of that key go."""
    facts = []
    by_rkey = collections.defaultdict(list)
    for swap in workload.swaps:
        by_rkey[swap[1]].append(swap)
    for rkey, swaps in sorted(by_rkey.items()):
        base, how = solve_base(workload, swaps, rkey)
        facts.append({"server": server, "rkey": rkey, "how": how,
                      "cas_base": None if base is None else hex(base), "cas": len(swaps)})
        if base is None:
            report.fail("rank", swaps[0][0].number, f"cannot tell the base of the words: {how}")
            continue
        for packet, _, address, _ in swaps:
            rank, odd = divmod(address - base, 8)
            homes = workload.keys.get(workload.args.key_prefix + rank) if rank >= 0 else None
            if odd or homes is None:
                report.fail("rank", packet.number, f"CAS of {address:#x}: no such key was written")
            elif packet.dqpn not in homes:
                report.fail("rank", packet.number,
                            f"CAS of rank {rank} on QP {packet.dqpn}, its WRITEs on "
                            f"{sorted(homes)[:4]}")
    return facts


def check_homes(server, workload, report):
    """Each key and each word has one server queue pair."""
    for key, homes in workload.keys.items():
        if len(homes) > 1:
            number = sorted(homes.values())[1]
            report.fail("key", number, f"key {key:#x} of {server} on QPs {sorted(homes)[:4]}")
    for (_, address), homes in workload.words.items():
        if len(homes) > 1:
            number = sorted(homes.values())[1]
            report.fail("word", number, f"word {address:#x} of {server} on QPs "
                                        f"{sorted(homes)[:4]}")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", metavar="SERVER.pcap")
    parser.add_argument("--key-offset", type=int, default=0)
    parser.add_argument("--key-size", type=int, default=8)
    parser.add_argument("--write-len", type=int, default=1024, help="size of a record")
    parser.add_argument("--cas-base", default="auto", help="address of rank 0's word, or auto")
    parser.add_argument("--key-prefix", type=lambda text: int(text, 0), default=0x6B65790000000000)
    parser.add_argument("--word-writes", action="store_true",
                        help="a WRITE ONLY of 8 bytes is an access to a word, like a CAS")
    parser.add_argument("--pmtu", type=int, help="default: FIRST and MIDDLE packets tell, or 1024")
    parser.add_argument("--server", action="append", help="look at this server only (repeatable)")
    parser.add_argument("--skip", default="", metavar="CHECK,..", help="checks to leave out")
    return parser.parse_args()


def main():
    """Reads the capture once, then looks at the workload as a whole."""
    args = arguments()
    report = rocecap.Report(CHECKS, args.skip)
    captured = list(rocecap.packets(args.capture))
    pmtu = rocecap.guess_pmtu(captured)
    qps, workloads = {}, {}
    for packet in captured:
        if packet.opcode not in rocecap.REQUESTS:
            continue
        if args.server and packet.dst not in args.server:
            continue
        where = packet.dst, packet.dqpn
        if where not in qps:
            qps[where] = ServerQp(packet, args.pmtu or pmtu(packet.src, packet.dst))
        qp = qps[where]
        firsts = len(qp.firsts)
        on_request(qp, packet, report)
        if len(qp.firsts) > firsts:
            workloads.setdefault(packet.dst, Workload(args)).add(packet)
    for (server, qpn), qp in qps.items():
        if qp.open is not None:
            report.fail("message", qp.open[0], f"never finished, on QP {qpn} of {server}")
    bases = []
    for server, workload in sorted(workloads.items()):
        check_homes(server, workload, report)
        ranked = any(workload.rank(key) is not None for key in workload.keys)
        if ranked or args.cas_base != "auto":
            bases += check_ranks(server, workload, report)
    if not any(workload.keys for workload in workloads.values()):
        report.not_applicable("key", f"no WRITE ONLY of {args.write_len} bytes")
    if not any(workload.words for workload in workloads.values()):
        report.not_applicable("word", "no CAS")
    if not bases:
        report.not_applicable("rank", "no CAS, or no key with the prefix")
    if not qps:
        report.fail("dense", None, "no request in the capture")
    report.facts = {
        "capture": args.capture,
        "packets": len(captured),
        "requests": sum(qp.counts["packets"] for qp in qps.values()),
        "keys": sum(len(workload.keys) for workload in workloads.values()),
        "words": sum(len(workload.words) for workload in workloads.values()),
        "cas_bases": bases,
        "server_qps": {f"{server}/{qpn}": {"pmtu": qp.pmtu, **dict(sorted(qp.counts.items()))}
                       for (server, qpn), qp in sorted(qps.items())},
    }
    return report.finish()


if __name__ == "__main__":
    rocecap.run(main)
