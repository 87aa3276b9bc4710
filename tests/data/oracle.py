#!/usr/bin/env python3
"""Counts what is in a RoCEv2 capture, with tshark's decoding and nothing of qpmux.

    oracle.py CAPTURE...          one JSON document: {file name: counts}
    oracle.py --pairs CAPTURE     the queue-pair pairs, as CSV

Works with the whole file at hand (two passes), where `qpmux inspect` streams: the two agree only
if both are right.  Pairs are found twice, by the port number that a driver derives from the two
queue pair numbers and by matching every answer's PSN and kind with the requests of the other
direction; a capture in which the two ways disagree is an error.
"""
import json
import os
import subprocess
import sys

FIELDS = """frame.len frame.cap_len frame.time_epoch ip.src ip.dst ipv6.src ipv6.dst udp.srcport
udp.dstport udp.length infiniband.bth.opcode infiniband.bth.destqp infiniband.bth.psn
infiniband.bth.padcnt infiniband.reth.dmalen infiniband.aeth.syndrome udp.payload
infiniband.mad.attributeid""".split()
# Of the connection manager's REQ, REP and RTU.
CM_FIELDS = """infiniband.cm.req infiniband.cm.req.localqpn infiniband.cm.req.startpsn
infiniband.cm.req.pppmtu infiniband.cm.req.retrcount infiniband.cm.req.pkey
infiniband.cm.req.prim_localacktout infiniband.cm.rep infiniband.cm.rep.remotecommid
infiniband.cm.rep.localqpn infiniband.cm.rep.startpsn infiniband.cm.rep.respres
infiniband.cm.rep.initdepth infiniband.cm.rep.rnrretrcount infiniband.cm.rtu.localcommid
infiniband.cm.rtu.remotecommid""".split()
CM_NAMES = {0x10: "REQ", 0x11: "MRA", 0x12: "REJ", 0x13: "REP", 0x14: "RTU", 0x15: "DREQ",
            0x16: "DREP"}

NAMES = """SEND_FIRST SEND_MIDDLE SEND_LAST SEND_LAST_IMM SEND_ONLY SEND_ONLY_IMM WRITE_FIRST
WRITE_MIDDLE WRITE_LAST WRITE_LAST_IMM WRITE_ONLY WRITE_ONLY_IMM READ_REQUEST READ_RESPONSE_FIRST
READ_RESPONSE_MIDDLE READ_RESPONSE_LAST READ_RESPONSE_ONLY ACKNOWLEDGE ATOMIC_ACKNOWLEDGE
COMPARE_SWAP FETCH_ADD - SEND_LAST_INV SEND_ONLY_INV""".split()
# Bytes between the BTH and the payload, by opcode.
HEADERS = [0, 0, 0, 4, 0, 4, 16, 0, 0, 4, 16, 20, 16, 4, 0, 4, 4, 4, 12, 28, 28, 0, 4, 4]
RESPONSES = range(0x0D, 0x13)
STARTS = {0x00: "sends", 0x04: "sends", 0x05: "sends", 0x17: "sends", 0x06: "writes",
          0x0A: "writes", 0x0B: "writes", 0x0C: "reads", 0x13: "compare_swaps",
          0x14: "fetch_adds"}
FULL = {0x00, 0x01, 0x06, 0x07, 0x0D, 0x0E}  # carry exactly one path MTU
KIND_OF_ANSWER = {0x11: "plain", 0x12: "atomic", 0x0D: "read", 0x10: "read"}
PAIRS_HEADER = """\
# The true queue-pair pairs of {name}: made by `oracle.py --pairs`, with the
# whole file at hand. Two independent proofs hold for every line: the UDP source port of both
# directions is the kernel's symmetric hash of the product of the two queue pair numbers, and PSN
# and kind of the answers are those of the requests.
"""
VERBS = ["sends", "writes", "reads", "compare_swaps", "fetch_adds"]
WRAP, HALF = 1 << 24, 1 << 23


def number(text):
    """tshark prints some numbers in hexadecimal and absent fields as nothing."""
    return int(text, 0) if text else None


def packets(path):
    command = ["tshark", "-n", "-r", path, "-T", "fields"]
    command += ["-E", "occurrence=f", "-E", "separator=|"]
    for field in FIELDS + CM_FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # A capture cut in its last record is reported on standard error after all else was printed.
    if done.returncode not in (0, 2) or (done.returncode == 2 and not done.stdout):
        raise SystemExit("tshark: " + done.stderr)
    for line in done.stdout.splitlines():
        row = dict(zip(FIELDS + CM_FIELDS, line.split("|")))
        packet = {name.split(".")[-1]: row[name] for name in FIELDS}
        packet["src"] = row["ip.src"] or row["ipv6.src"]
        packet["dst"] = row["ip.dst"] or row["ipv6.dst"]
        packet["frame_len"], packet["udp_len"] = number(row["frame.len"]), number(row["udp.length"])
        packet["data"] = row["udp.payload"].replace(":", "")
        for name in "cap_len srcport dstport opcode destqp psn padcnt dmalen syndrome".split():
            packet[name] = number(packet[name])
        packet["cm"] = {name[len("infiniband.cm."):]: number(row[name]) for name in CM_FIELDS}
        packet["attributeid"] = number(packet["attributeid"])
        packet["roce"] = packet["opcode"] is not None and packet["dstport"] == 4791
        packet["rc"] = packet["roce"] and packet["opcode"] < 0x20
        if packet["rc"]:
            packet["payload"] = (packet["udp_len"] - 8 - 12 - 4 - HEADERS[packet["opcode"]]
                                 - packet["padcnt"])
        yield packet


def path_mtus(rows):
    """Per pair of hosts: the size of a packet that must be full, where there is one."""
    mtus = {}
    for p in rows:
        if p["rc"] and p["opcode"] in FULL:
            hosts = frozenset((p["src"], p["dst"]))
            mtus[hosts] = max(mtus.get(hosts, 0), p["payload"])
    return mtus


def psns_taken(packet, mtus):
    if packet["opcode"] != 0x0C:
        return 1
    mtu = mtus.get(frozenset((packet["src"], packet["dst"])), 4096)
    return max(1, -(-packet["dmalen"] // mtu))


def flows(rows, mtus):
    """What was seen in each direction, by (source, destination, destination queue pair)."""
    table = {}
    for order, p in enumerate(rows):
        if not p["rc"]:
            continue
        flow = table.setdefault((p["src"], p["dst"], p["destqp"]), {
            "port": p["srcport"], "ports": set(), "packets": 0, "bytes": 0, "requests": 0,
            "retransmitted": 0, "newest": None, "seen": set(), "first_request": None,
            "first_psn": None, "naks": 0, "rnr_naks": 0, "sent": {}, "answers": [],
            **{verb: 0 for verb in VERBS}})
        flow["ports"].add(p["srcport"])
        flow["packets"] += 1
        flow["bytes"] += p["frame_len"]
        if p["opcode"] in RESPONSES:
            kind = KIND_OF_ANSWER.get(p["opcode"])
            class_ = (p["syndrome"] or 0) >> 5 if kind else 0
            flow["naks"] += class_ == 3
            flow["rnr_naks"] += class_ == 1
            if kind and class_ == 0:
                flow["answers"].append((p["psn"], kind))
            continue
        request(flow, p, psns_taken(p, mtus), order)
    return table


def request(flow, p, length, order):
    flow["requests"] += 1
    if flow["newest"] is None:
        flow["newest"], flow["first_request"] = (p["psn"] - 1) % WRAP, order
        flow["first_psn"] = p["psn"]
    if (p["psn"] - flow["newest"] - 1) % WRAP >= HALF:
        flow["retransmitted"] += 1
    last = (p["psn"] + length - 1) % WRAP
    if 0 < (last - flow["newest"]) % WRAP < HALF:
        flow["newest"] = last
    if p["psn"] not in flow["seen"] and p["opcode"] in STARTS:
        flow[STARTS[p["opcode"]]] += 1
    flow["seen"].update((p["psn"] + i) % WRAP for i in range(length))
    kind = {"reads": "read", "compare_swaps": "atomic", "fetch_adds": "atomic"}.get(
        STARTS.get(p["opcode"]), "plain")
    flow["sent"][p["psn"]] = kind


def port_of(one, other):
    """Linux: rdma_calc_flow_label and rdma_flow_label_to_udp_sport, include/rdma/ib_verbs.h."""
    value = one * other
    value ^= value >> 20
    value ^= value >> 40
    label = value & 0xFFFFF
    return ((label & 0x3FFF) ^ ((label & 0xFC000) >> 14)) | 0xC000


def matched(requester, responder):
    """Share of the responder's answers that the requester asked for, with PSN and kind.

    A plain ACK is accepted for every kind: soft-RoCE sends such for a duplicate WRITE.
    """
    hits = sum(psn in requester["sent"] and (kind == "plain" or requester["sent"][psn] == kind)
               for psn, kind in responder["answers"])
    return hits, len(responder["answers"])


def pairs(table):
    """[(client flow's key, server flow's key)]: the client is who sent the first request."""
    by_port, by_psn = set(), {}
    for ahead, one in table.items():
        scores = []
        for back, other in table.items():
            if (back[0], back[1]) != (ahead[1], ahead[0]) or back == ahead:
                continue
            hits, answers = matched(one, other)
            if one["port"] == other["port"] == port_of(ahead[2], back[2]) and hits:
                by_port.add((ahead, back))
            # An ACK of something sent before the capture began is all that may not fit.
            if answers and hits >= answers - 1 and hits:
                scores.append((hits, back))
        if len(scores) == 1:
            by_psn[ahead] = scores[0][1]
    wrong = [(a, b) for a, b in by_psn.items()
             if any(x[0] == a and x[1] != b for x in by_port)]
    if wrong:
        raise SystemExit(f"port and PSN evidence disagree: {wrong}")
    found = by_port | set(by_psn.items())
    result = []
    for ahead, back in sorted(found):
        mine, theirs = table[ahead]["first_request"], table[back]["first_request"]
        # Both directions of a connection may carry requests: keep it once.
        if (back, ahead) in found and (mine, ahead) > (theirs, back):
            continue
        result.append((ahead, back))
    return result


def connection(table, ahead, back):
    one, other = table[ahead], table[back]
    return {"client_ip": ahead[0], "client_qpn": back[2], "server_ip": ahead[1],
            "server_qpn": ahead[2], "first_psn": one["first_psn"], "last_psn": one["newest"],
            "requests": one["requests"], "retransmitted": one["retransmitted"],
            "naks": other["naks"], "rnr_naks": other["rnr_naks"],
            "bytes": one["bytes"] + other["bytes"], **{verb: one[verb] for verb in VERBS}}


def handshakes(rows):
    """What REQ and REP say of each connection that an RTU completed, by the ends of the
    connection. A starting PSN is the one that the sender of the message expects to receive."""
    asked, agreed, found = {}, {}, {}
    for p in rows:
        cm, way = p["cm"], (p["src"], p["dst"])
        if p["attributeid"] == 0x10:
            asked[way, cm["req"]] = cm
        elif p["attributeid"] == 0x13:
            agreed[way[::-1], cm["rep.remotecommid"], cm["rep"]] = cm
        elif p["attributeid"] == 0x14:
            ids = cm["rtu.localcommid"], cm["rtu.remotecommid"]
            req, rep = asked[way, ids[0]], agreed[way, *ids]
            timeout = req["req.prim_localacktout"]
            found[way[0], req["req.localqpn"], way[1], rep["rep.localqpn"]] = {
                "client_start_psn": rep["rep.startpsn"], "server_start_psn": req["req.startpsn"],
                "path_mtu": 128 << req["req.pppmtu"], "depth": rep["rep.respres"],
                "client_depth": rep["rep.initdepth"], "partition_key": req["req.pkey"],
                "retry_count": req["req.retrcount"],
                "rnr_retry_count": rep["rep.rnrretrcount"],
                "ack_timeout_ns": 4096 << timeout if timeout else None}
    return found


def keys(rows):
    """Distinct keys of the "kv" workload: the first 8 bytes of every WRITE of 1,024 bytes."""
    found = set()
    for p in rows:
        if p["rc"] and p["opcode"] == 0x0A and p["payload"] == 1024:
            found.add(int.from_bytes(bytes.fromhex(p["data"][56:72]), "little"))
    return len(found)


def counts(path):
    rows = list(packets(path))
    mtus = path_mtus(rows)
    table = flows(rows, mtus)
    opcodes = {}
    for p in rows:
        if p["roce"]:
            known = p["opcode"] < len(NAMES) and NAMES[p["opcode"]] != "-"
            name = NAMES[p["opcode"]] if known else f"{p['opcode']:#04x}"
            opcodes[name] = opcodes.get(name, 0) + 1
    times = [p["time_epoch"].split(".") for p in rows]
    times = [int(s) * 10**9 + int(f.ljust(9, "0")[:9]) for s, f in times]
    told = handshakes(rows)
    # Who sent the REQ is the client, even if the other end sent the first request.
    found = [connection(table, b, a) if (a[1], a[2], a[0], b[2]) in told
             else connection(table, a, b) for a, b in pairs(table)]
    key = ["client_ip", "client_qpn", "server_ip", "server_qpn"]
    for each in found:
        each["cm"] = told.get(tuple(each[name] for name in key))
        if each["cm"]:
            each.update(learnt_by="cm", path_mtu=each["cm"]["path_mtu"])
    messages = [CM_NAMES.get(p["attributeid"], "OTHER") for p in rows if p["attributeid"]]
    return {"packets": len(rows), "roce_packets": sum(p["roce"] for p in rows),
            "truncated_packets": sum(p["cap_len"] < p["frame_len"] for p in rows),
            "duration_ns": times[-1] - times[0] if times else 0,
            "opcodes": dict(sorted(opcodes.items())),
            "retransmitted": sum(f["retransmitted"] for f in table.values()),
            "operations": {v: sum(f[v] for f in table.values()) for v in VERBS},
            "keys": keys(rows),
            "cm_messages": {name: messages.count(name) for name in set(messages)},
            "connections": sorted(found, key=lambda c: [c[k] for k in key])}


def print_pairs(path):
    name = os.path.basename(path)
    print(PAIRS_HEADER.format(name=name), end="")
    print("client_ip,client_qpn,server_ip,server_qpn,udp_source_port,answers,answers_matched")
    table = flows(rows := list(packets(path)), path_mtus(rows))
    for ahead, back in sorted(pairs(table), key=lambda x: (x[0][0], x[1][2])):
        one, other = table[ahead], table[back]
        hits, answers = matched(one, other)
        if not one["port"] == other["port"] == port_of(ahead[2], back[2]) or not hits:
            raise SystemExit(f"no two proofs for {ahead} {back}")
        print(f"{ahead[0]},{back[2]},{ahead[1]},{ahead[2]},{one['port']},{answers},{hits}")


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--pairs":
        return print_pairs(arguments[1])
    if not arguments or arguments[0].startswith("-"):
        raise SystemExit(__doc__)
    print(json.dumps({os.path.basename(p): counts(p) for p in arguments}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
