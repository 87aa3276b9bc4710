#!/usr/bin/env python3
"""Checks the ICRC of every RoCEv2 packet of the given captures.

Two ways that know nothing of each other: zlib.crc32 over the masked headers, on every packet,
and scapy's own RoCE layer (scapy.contrib.roce, IPv4 only), on every packet as well (about 2,000 a
second) or on a sample spread evenly. The output says how many each has looked at.
"""

import argparse
import struct
import sys
import zlib

sys.dont_write_bytecode = True
import rocecap  # noqa: E402

CHECKS = ("zlib", "scapy")


def by_zlib(packet):
    """The ICRC that the packet ought to have, as the four bytes on the wire."""
    masked = bytearray(packet.network[:-4])
    if packet.version == 4:
        udp = (masked[0] & 15) * 4
        masked[1] = masked[8] = masked[10] = masked[11] = 0xFF
    else:
        udp = 40
        masked[0] |= 0x0F
        masked[1] = masked[2] = masked[3] = masked[7] = 0xFF
    masked[udp + 6] = masked[udp + 7] = 0xFF
    masked[udp + 12] = 0xFF
    return struct.pack("<I", zlib.crc32(masked, zlib.crc32(b"\xff" * 8)))


def scapy_layer():
    """scapy's IP and BTH, loaded only when wanted (it takes a second)."""
    import logging
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
    from scapy.layers.inet import IP
    from scapy.contrib.roce import BTH
    return IP, BTH


def by_scapy(layer, packet):
    """The same, by taking the ICRC out of scapy's packet and letting scapy put it in again."""
    ip, bth = layer
    decoded = ip(packet.network)
    decoded[bth].icrc = None
    return bytes(decoded)[-4:]


def check_file(path, report, layer, every):
    """Checks one capture; returns how many packets each of the two ways has seen."""
    counts = {"zlib": 0, "scapy": 0}
    for index, packet in enumerate(rocecap.packets(path)):
        found = packet.network[-4:]
        want = by_zlib(packet)
        counts["zlib"] += 1
        if want != found:
            report.fail("zlib", packet.number,
                        f"{path}: ICRC is {found.hex()}, should be {want.hex()}")
        if layer and index % every == 0 and packet.version == 4:
            want = by_scapy(layer, packet)
            counts["scapy"] += 1
            if want != found:
                report.fail("scapy", packet.number,
                            f"{path}: ICRC is {found.hex()}, should be {want.hex()}")
    return counts


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--scapy", default="all", metavar="N",
                        help="packets of each file for scapy, about: a number or all (default)")
    args = parser.parse_args()
    report = rocecap.Report(CHECKS)
    layer = scapy_layer() if args.scapy != "0" else None
    totals = {"zlib": 0, "scapy": 0}
    for path in args.files:
        every = 1
        if args.scapy not in ("all", "0"):
            packets = sum(1 for _ in rocecap.packets(path))
            every = max(1, -(-packets // int(args.scapy)))
        for way, count in check_file(path, report, layer, every).items():
            totals[way] += count
    report.facts = {
        "files": args.files,
        "packets": totals["zlib"],
        "packets_by_zlib": totals["zlib"],
        "packets_by_scapy": totals["scapy"],
        "how": "zlib.crc32 on every packet, scapy.contrib.roce on "
               + ("every IPv4 packet" if totals["scapy"] == totals["zlib"] else "a sample"),
    }
    if not totals["zlib"]:
        report.fail("zlib", None, "no RoCEv2 packet in the input")
    if not totals["scapy"]:
        report.not_applicable("scapy", "not asked for, or no IPv4 packet")
    return report.finish()


if __name__ == "__main__":
    rocecap.run(main)
