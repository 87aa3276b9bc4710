#!/usr/bin/env python3
"""Shows that each check of the checkers in this folder can fail, and that none fails for nothing.

Builds small captures in memory, with PSNs and MSNs that wrap, spoils one thing in each and looks
which checks complain, and about which packet.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import check_icrc  # noqa: E402
import rocecap as r  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
KEY = 0x6B65790000000000
BASE, RECORDS, RKEY = 0x7F0000001000, 0x7F0000010000, 0x1234
CLIENTS, SERVER = ("10.0.0.1", "10.0.0.2"), "10.0.0.9"


def frame(src, dst, sport, opcode, dqpn, psn, body=b"", ackreq=True, pad=0):
    """An Ethernet frame with a good ICRC."""
    ends = opcode in r.REQUESTS and opcode not in r.FIRSTS and opcode not in r.MIDDLES
    bth = struct.pack(">BBHII", opcode, pad << 4, 0xFFFF, dqpn,
                      (ackreq and ends) << 31 | psn & r.PSN_MASK)
    udp = struct.pack(">HHHH", sport, r.ROCE_PORT, 8 + len(bth + body) + pad + 4, 0)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 2, 20 + len(udp + bth + body) + pad + 4, 7, 0x4000,
                     64, 17, 0, bytes(map(int, src.split("."))), bytes(map(int, dst.split("."))))
    network = ip + udp + bth + body + bytes(pad) + bytes(4)
    packet = r.parse(0, bytes(12) + b"\x08\x00" + network)
    return bytes(12) + b"\x08\x00" + network[:-4] + check_icrc.by_zlib(packet)


def write(path, frames, magic=b"\x4d\x3c\xb2\xa1"):
    """A classic pcap of those frames."""
    with open(path, "wb") as file:
        file.write(magic + struct.pack("<HHiIII", 2, 4, 0, 0, 65535, 1))
        for index, each in enumerate(frames):
            file.write(struct.pack("<IIII", 0, index, len(each), len(each)) + each)


def check(script, frames, *options):
    """(exit status, {failed check: packet numbers}, the JSON)."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "capture.pcap")
        write(path, frames)
        table = os.path.join(folder, "pairs.csv")
        with open(table, "w") as file:
            file.write("client_ip,client_qpn,server_ip,server_qpn\n")
            file.write(f"{CLIENTS[0]},0x11,{SERVER},33\n")
        options = [table if option == "TABLE" else option for option in options]
        done = subprocess.run([sys.executable, os.path.join(HERE, script), path, *options],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 2:
        raise AssertionError(done.stderr)
    result = json.loads(done.stdout)
    failed = {name: [failure["packet"] for failure in entry["failures"]]
              for name, entry in result["checks"].items() if entry["status"] == "fail"}
    return done.returncode, failed, result


def reth(address, length, rkey=RKEY):
    """A RETH."""
    return struct.pack(">QII", address, rkey, length)


def record(rank, slot):
    """RETH and payload of the WRITE of a record."""
    return reth(RECORDS + 1024 * slot, 1024) + struct.pack("<Q", KEY + rank) + bytes(1016)


def cas(rank, slot, compare=0):
    """AtomicETH of the CAS that makes `slot` the newest version."""
    return struct.pack(">QIQQ", BASE + 8 * rank, RKEY, slot, compare)


class Case(unittest.TestCase):
    """Comparisons with what a checker says."""

    script = ""
    options = ()

    def verdict(self, frames, expected, *options):
        """The checks that fail, and nothing else, at those packets."""
        status, failed, result = check(self.script, frames, *self.options, *options)
        self.assertEqual(failed, expected)
        self.assertEqual(status, 1 if expected else 0)
        self.assertEqual(result["ok"], not expected)
        return result


class Server(Case):
    """check_server.py"""

    script = "check_server.py"

    def frames(self, **changed):
        """Two server QPs: key 0 and 2 on 33, key 1 on 34; PSNs wrap on 33. `changed` maps
        p1, p2, .. (packet numbers) to changed arguments."""
        p = r.PSN_MASK - 1
        parts = [
            (33, r.WRITE_ONLY, p, record(0, 0)),                        # 1
            (34, r.WRITE_ONLY, 50, record(1, 1)),                       # 2
            (33, r.CAS, p + 1, cas(0, 0)),                              # 3
            (33, r.WRITE_ONLY, p + 2, record(2, 2)),                    # 4
            (34, r.CAS, 51, cas(1, 1)),                                 # 5
            (33, r.WRITE_ONLY, p + 2, record(2, 2)),                    # 6, again
            (33, r.CAS, p + 3, cas(2, 2)),                              # 7
            (33, r.WRITE_FIRST, p + 4, reth(RECORDS, 2500) + bytes(1024)),
            (33, r.WRITE_MIDDLE, p + 5, bytes(1024)),                   # 9
            (33, r.WRITE_LAST, p + 6, bytes(452)),                      # 10
            (33, r.READ_REQUEST, p + 7, reth(RECORDS, 2500)),           # 11
            (33, r.READ_REQUEST, p + 9, reth(RECORDS + 2048, 452)),     # 12, resumed
            (33, r.WRITE_ONLY, p + 10, record(0, 3)),                   # 13
            (33, r.CAS, p + 11, cas(0, 3)),                             # 14
        ]
        frames = []
        for number, (qpn, opcode, psn, body) in enumerate(parts, 1):
            arguments = {"src": CLIENTS[qpn - 33], "dst": SERVER, "sport": 50000 + qpn,
                         "opcode": opcode, "dqpn": qpn, "psn": psn, "body": body}
            arguments.update(changed.get(f"p{number}", {}))
            frames.append(frame(**arguments))
        return frames

    def test_good(self):
        """No complaint; the base is found."""
        result = self.verdict(self.frames(), {})
        self.assertEqual(result["cas_bases"][0]["cas_base"], hex(BASE))
        self.assertIn("swap values", result["cas_bases"][0]["how"])

    def test_base_without_swaps(self):
        """Swap values that name no record: the base that fits the written keys."""
        odd = {f"p{n}": {"body": cas(rank, 77777 + n)}
               for n, rank in ((3, 0), (5, 1), (7, 2), (14, 0))}
        result = self.verdict(self.frames(**odd), {})
        self.assertEqual(result["cas_bases"][0]["cas_base"], hex(BASE))
        self.assertIn("only base", result["cas_bases"][0]["how"])
        self.verdict(self.frames(**odd)[:6], {"rank": [3]})

    def test_dense(self):
        """A hole."""
        frames = self.frames()
        self.verdict(frames[:12] + frames[13:], {"dense": [13]})
        self.verdict(frames[:8] + frames[9:], {"dense": [9], "message": [9], "length": [9]})
        short = {"p11": {"body": reth(RECORDS, 1025)}, "p12": {"psn": 6}}
        self.assertIn("dense", check(self.script, self.frames(**short))[1])

    def test_retransmission(self):
        """Another payload, another opcode, another READ, a READ resumed wrongly."""
        self.verdict(self.frames(p6={"body": record(2, 2)[:-1] + b"x"}), {"retransmission": [6]})
        self.verdict(self.frames(p6={"opcode": r.CAS, "body": cas(2, 2)}),
                     {"retransmission": [6]})
        self.verdict(self.frames(p12={"body": reth(RECORDS + 1024, 452)}),
                     {"retransmission": [12]})
        self.verdict(self.frames(p6={"psn": 0xFFFF00}), {"retransmission": [6]})

    def test_source(self):
        """Another client's address, another port."""
        self.verdict(self.frames(p13={"src": CLIENTS[1]}), {"source": [13]})
        self.verdict(self.frames(p13={"sport": 50099}), {"source": [13]})

    def test_ackreq(self):
        """A message end that asks for no answer."""
        for number in (1, 3, 10, 11):
            self.verdict(self.frames(**{f"p{number}": {"ackreq": False}}), {"ackreq": [number]})

    def test_message(self):
        """Something inside a message, before and after its PSN; one that never ends."""
        frames = self.frames()
        inside = self.frames(p9={"opcode": r.WRITE_ONLY, "body": record(2, 9)})
        self.verdict(inside, {"message": [9, 10]})
        again = frames[:8] + [frames[5]] + frames[8:]
        self.verdict(again, {"message": [10]})
        self.verdict(frames[:9], {"message": [8]})
        self.verdict(self.frames(p9={"opcode": r.SEND_MIDDLE}), {"message": [9]})

    def test_length(self):
        """Payload, RETH and PMTU disagree."""
        self.verdict(self.frames(p10={"body": bytes(456)}), {"length": [10]})
        self.verdict(self.frames(p1={"body": reth(RECORDS, 1000) + struct.pack("<Q", KEY)
                                     + bytes(1016)}), {"length": [1]})
        self.verdict(self.frames(p9={"body": bytes(1000)}), {"length": [9, 10]})

    def test_key_word_rank(self):
        """A key, or the word of a key, on two server QPs."""
        self.verdict(self.frames(p13={"body": record(1, 3)}, p14={"body": cas(1, 3)}),
                     {"key": [13], "word": [14]})
        self.verdict(self.frames(p13={"body": record(1, 3)}), {"key": [13]}, "--skip", "rank")
        wrong = self.frames(p14={"body": cas(1, 3)})
        self.assertEqual(check(self.script, wrong)[1], {"word": [14], "rank": [14]})
        unknown = self.frames(p14={"body": cas(9, 3)})
        self.verdict(unknown, {"rank": [14]})

    def test_replaced(self):
        """A CAS that became a WRITE of eight bytes."""
        body = reth(BASE, 8) + struct.pack("<Q", 3)
        good = self.frames(p14={"opcode": r.WRITE_ONLY, "body": body})
        self.verdict(good, {}, "--word-writes")
        body = reth(BASE + 8, 8) + struct.pack("<Q", 3)
        bad = self.frames(p14={"opcode": r.WRITE_ONLY, "body": body})
        self.verdict(bad, {"word": [14], "rank": [14]}, "--word-writes")

    def test_empty(self):
        """A capture without requests proves nothing."""
        self.verdict([], {"dense": [None]})


class Clients(Case):
    """check_clients.py"""

    script = "check_clients.py"
    options = ("--pairs", "TABLE")

    def frames(self, **changed):
        """One connection; PSNs and MSNs wrap. `changed` as in Server; None leaves a packet out."""
        p, m = r.PSN_MASK - 1, r.PSN_MASK
        parts = [
            (r.WRITE_ONLY, p, record(0, 0)),                                          # 1
            (r.CAS, p + 1, cas(0, 0)),                                                # 2
            (r.ACK, p, self.aeth(m)),                                                 # 3
            (r.ATOMIC_ACK, p + 1, self.aeth(m + 1) + bytes(8)),                       # 4
            (r.READ_REQUEST, p + 2, reth(RECORDS, 2500)),                             # 5
            (r.READ_FIRST, p + 2, self.aeth(m + 2) + bytes(1024)),                    # 6
            (r.READ_MIDDLE, p + 3, bytes(1024)),                                      # 7
            (r.READ_LAST, p + 4, self.aeth(m + 2) + bytes(452)),                      # 8
            (r.READ_REQUEST, p + 4, reth(RECORDS + 2048, 452)),                       # 9, again
            (r.READ_ONLY, p + 4, self.aeth(m + 2) + bytes(452)),                      # 10
            (r.CAS, p + 1, cas(0, 0)),                                                # 11, again
            (r.ATOMIC_ACK, p + 1, self.aeth(m + 2) + bytes(8)),                       # 12
            (r.WRITE_ONLY, p + 6, record(0, 1)),                                      # 13, early
            (r.ACK, p + 5, self.aeth(m + 2, 0x60)),                                   # 14, NAK
            (r.WRITE_ONLY, p + 5, record(0, 2)),                                      # 15
            (r.WRITE_ONLY, p + 6, record(0, 1)),                                      # 16
            (r.ACK, p + 6, self.aeth(m + 4)),                                         # 17
            (r.WRITE_ONLY, p + 5, record(0, 2)),                                      # 18, again
            (r.ACK, p + 6, self.aeth(m + 4)),                                         # 19
        ]
        frames = []
        for number, (opcode, psn, body) in enumerate(parts, 1):
            there = opcode in r.REQUESTS
            ends = (CLIENTS[0], SERVER) if there else (SERVER, CLIENTS[0])
            arguments = {"src": ends[0], "dst": ends[1], "sport": 50000, "opcode": opcode,
                         "dqpn": 33 if there else 0x11, "psn": psn, "body": body}
            change = changed.get(f"p{number}", {})
            if change is not None:
                frames.append(frame(**{**arguments, **change}))
        return frames

    @staticmethod
    def aeth(msn, syndrome=0x1F):
        """An AETH."""
        return struct.pack(">I", syndrome << 24 | msn & r.PSN_MASK)

    def test_good(self):
        """No complaint, with a table and without."""
        self.verdict(self.frames(), {})
        status, failed, _ = check(self.script, self.frames(), "--pairs", "auto")
        self.assertEqual((status, failed), (0, {}))

    def test_requested(self):
        """An answer to what was never sent; an answer before its request."""
        self.verdict(self.frames(p17={"psn": 9}), {"requested": [17]})
        frames = self.frames()
        self.assertIn("requested", check(self.script, [frames[2]] + frames, *self.options)[1])
        self.verdict(self.frames(p14={"psn": 77}), {"requested": [14]})

    def test_order(self):
        """Out of order, and again without a repeated request."""
        frames = self.frames()
        swapped = frames[:4] + [frames[4], *frames[14:17]] + frames[5:]
        self.assertIn(8, check(self.script, swapped, *self.options)[1]["order"])
        self.verdict(self.frames(p11=None), {"order": [11]})
        self.verdict(self.frames(p9=None), {"order": [9], "read": [9]})
        self.verdict(frames[:4] + [frames[3]] + frames[4:], {"order": [5, 13]})
        self.verdict(frames[:4] + [frames[2]] + frames[4:], {"order": [5], "msn": [5]})
        early = self.frames(p4=None, p12={"body": self.aeth(1) + bytes(8)})
        self.verdict(early, {"order": [5]})
        nak = frames[:7] + [frames[13]] + frames[7:13] + frames[14:]
        self.assertIn("order", check(self.script, nak, *self.options)[1])

    def test_msn(self):
        """The MSN goes back, also over the wrap."""
        self.verdict(self.frames(p4={"body": self.aeth(r.PSN_MASK - 1) + bytes(8)}), {"msn": [4]})
        self.verdict(self.frames(p17={"body": self.aeth(0)}), {"msn": [17]})

    def test_plain_ack(self):
        """An ACK on the PSN of a CAS, and inside a READ."""
        self.verdict(self.frames(p4={"opcode": r.ACK, "body": self.aeth(0)}, p11=None, p12=None),
                     {"plain_ack": [4], "order": [6], "complete": [2]})
        self.verdict(self.frames(p12={"opcode": r.ACK, "body": self.aeth(1)}), {"plain_ack": [12]})
        frames = self.frames(p8={"opcode": r.ACK, "body": self.aeth(1)})
        self.assertEqual(check(self.script, frames, *self.options)[1]["plain_ack"], [8])

    def test_opcode(self):
        """An atomic ACK for a WRITE, a READ response for a CAS."""
        self.verdict(self.frames(p3={"opcode": r.ATOMIC_ACK, "body": self.aeth(0) + bytes(8)}),
                     {"opcode": [3]})
        self.verdict(self.frames(p4={"opcode": r.READ_ONLY}), {"opcode": [4]})

    def test_read(self):
        """READ responses of wrong size, opcode, place."""
        self.verdict(self.frames(p8={"body": self.aeth(1) + bytes(448)}), {"read": [8]})
        self.verdict(self.frames(p7={"opcode": r.READ_FIRST, "body": self.aeth(1) + bytes(1024)}),
                     {"read": [7]})
        self.verdict(self.frames(p8={"opcode": r.READ_MIDDLE, "body": bytes(452)}),
                     {"read": [8]}, "--pmtu", "1024")
        self.verdict(self.frames(p6={"opcode": r.READ_ONLY}), {"read": [6, 7]})
        self.verdict(self.frames(p7=None), {"order": [7], "read": [7], "complete": [5]})

    def test_resumed(self):
        """After a repeated request a READ may go on in its middle, as Linux rxe does."""
        self.verdict(self.frames(p10={"opcode": r.READ_LAST}), {})

    def test_complete(self):
        """Requests without an answer."""
        self.verdict(self.frames(p17=None, p18=None, p19=None), {"complete": [15, 13]})
        self.verdict(self.frames(p8=None, p9=None, p10=None), {"complete": [5], "order": [11]})
        fatal = self.frames(p17={"body": self.aeth(3, 0x62), "psn": 3}, p18=None, p19=None)
        self.verdict(fatal, {})

    def test_known(self):
        """A packet of no connection."""
        self.verdict(self.frames(p19={"dqpn": 0x12}), {"known": [19]})
        self.verdict([], {"known": [None]})


class Icrc(Case):
    """check_icrc.py"""

    script = "check_icrc.py"

    def test_both(self):
        """Good frames, and one bit wrong in the payload, which both ways see."""
        frames = Server().frames()
        result = self.verdict(frames, {})
        self.assertEqual(result["packets_by_scapy"], len(frames))
        frames[4] = frames[4][:60] + bytes([frames[4][60] ^ 1]) + frames[4][61:]
        self.verdict(frames, {"zlib": [5], "scapy": [5]})

    def test_sample(self):
        """A sample says that it is one."""
        result = self.verdict(Server().frames(), {}, "--scapy", "3")
        self.assertLess(result["packets_by_scapy"], 14)
        self.assertIn("sample", result["how"])
        result = self.verdict(Server().frames(), {}, "--scapy", "0")
        self.assertEqual(result["checks"]["scapy"]["status"], "skipped")

    def test_masked(self):
        """What switches may change is not covered: TTL, TOS, the byte with the ECN bits."""
        frames = Server().frames()
        changed = bytearray(frames[0])
        changed[15], changed[22], changed[46] = 0xFF, 1, 0x80
        self.verdict([bytes(changed)] + frames[1:], {})
        self.verdict([], {"zlib": [None]})


class Reader(unittest.TestCase):
    """rocecap.py"""

    def test_formats(self):
        """Micro- and nanoseconds, either byte order; anything else is refused."""
        one = Server().frames()[0]
        for magic, order in ((b"\xd4\xc3\xb2\xa1", "<"), (b"\xa1\xb2\x3c\x4d", ">")):
            data = magic + struct.pack(order + "HHiIII", 2, 4, 0, 0, 65535, 1)
            data += struct.pack(order + "IIII", 1, 2, len(one), len(one)) + one
            self.assertEqual(list(r.records(data)), [(1, len(one), one)])
            with self.assertRaises(r.CaptureError):
                list(r.records(data[:-1]))
        with self.assertRaises(r.CaptureError):
            list(r.records(b"\x0a\x0d\x0d\x0a" + bytes(24)))

    def test_frames(self):
        """VLAN tags, Ethernet padding, other traffic, short captures."""
        one = Server().frames()[2]
        tagged = one[:12] + b"\x81\x00\x00\x05" + one[12:] + bytes(6)
        self.assertEqual(r.parse(1, tagged).body, r.parse(1, one).body)
        self.assertIsNone(r.parse(1, bytes(12) + b"\x08\x06" + bytes(50)))
        with self.assertRaises(r.CaptureError):
            r.parse(1, one[:-1])

    def test_unwrap(self):
        """Half of the numbers are ahead, half behind."""
        self.assertEqual(r.unwrap(1, 0xFFFFFF), 0x1000001)
        self.assertEqual(r.unwrap(0xFFFFFF, 0x1000001), 0xFFFFFF)
        self.assertEqual(r.unwrap(0x800000, 0), -0x800000)


if __name__ == "__main__":
    unittest.main()
