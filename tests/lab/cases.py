"""The tests: what runs in the guests, and what has to come of it."""

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import process
from wire import CLIENTS, SERVERS, lost_before

HERE = os.path.dirname(os.path.abspath(__file__))
PERFTEST_PORT = 18515
KV_PORT = 7471
# Of queue pairs in a flood: 268 ms, see run.py.
QP_TIMEOUT_HOSTILE = 16
# Seconds for the store there; frames after which the middlebox shall have touched what it is to
# use, what it may grow by then, and the share of frames that shall come to it.
HOSTILE_LIMIT, HOSTILE_WARM, HOSTILE_GROWTH_KB, HOSTILE_ARRIVE = 45, 100_000, 2048, 0.5


class Failure(Exception):
    """A test that failed: what is wrong."""


@dataclass
class Case:
    """A test: its name, what it needs, and a function that returns what it found."""

    name: str
    run: object
    clients: int = 1
    servers: int = 1
    quick: bool = False
    loss: float = 0  # per cent of all frames, at each machine, of those sent and those received
    hostile: bool = False  # a sender that means no good has an entrance on either side
    judge: object = None  # says what is wrong, of what was found and the middlebox's counters

    def has_one_machine_a_side(self):
        """Whether two machines are all that it needs."""
        return self.clients == 1 and self.servers == 1 and not self.hostile


def wait_in(guest, condition, what):
    """Waits until a shell condition holds in a guest."""
    loop = f"n=0; until {condition}; do n=$((n+1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done"
    if guest.run(loop)[0]:
        raise Failure(f"{guest.name}: {what} did not start")


def wait_listening(guest, port, cm):
    """Waits until a server in a guest listens on a port, over TCP or the connection manager."""
    if cm:
        wait_in(guest, f"rdma resource show cm_id | grep LISTEN | grep -q ':{port}'", "server")
        guest.run("sleep 1")
    else:
        wait_in(guest, f"netstat -ltn | grep -q ':{port} '", "server")


def both(lab, server, client, port, cm):
    """Runs a server and, once it listens, a client. Returns the client's output, and how often
    it had to be tried again: perftest listens before it can accept, and its client gives up at
    once if it is rejected then."""
    for tries in range(3):
        try:
            return pair(lab, server, client, port, cm), tries
        except Failure as failure:
            if not cm or "REJECTED" not in str(failure):
                raise
            rejected = failure
    raise rejected


def pair(lab, server, client, port, cm, limit=90):
    """One try."""
    guest, peer = lab.server, lab.clients[0]
    running = guest.start(server, limit)
    try:
        wait_listening(guest, port, cm)
        status, output = peer.finish(peer.start(client, limit), limit + 10)
        if status:
            program = server.split()[0]
            guest.run(f"killall -9 {program}")
            there = guest.finish(running, 20)[1]
            raise Failure(f"client ended with status {status}:\n{output}\nserver:\n{there}")
        status, there = guest.finish(running, limit + 10)
    except TimeoutError as error:
        raise Failure(str(error)) from None
    if status:
        raise Failure(f"server ended with status {status}:\n{there}")
    return output


def perftest(program, options="", cm=False):
    """A test with one of perftest's programs."""

    def run(lab):
        how = "-R" if cm else "-x 1"
        timeout = "" if "_bw" in program and cm else f"-u {lab.qp_timeout}"
        common = f"{program} -d rxe0 {how} -F -p {PERFTEST_PORT} {timeout} {options}"
        client = f"{common} {lab.server.address}"
        output, rejected = both(lab, common, client, PERFTEST_PORT, cm)
        return {**perftest_result(program, output), "rejected": rejected}

    return run


def perftest_result(program, output):
    """The typical latency, or the average bandwidth, of the last row of a report."""
    lines = [line.split() for line in output.splitlines() if line.strip()]
    heads = [i for i, line in enumerate(lines) if line[0] == "#bytes"]
    if not heads or len(lines) < heads[-1] + 2:
        raise Failure(f"no report:\n{output}")
    row = lines[heads[-1] + 1]
    try:
        if program.endswith("_lat"):
            return {"iterations": int(row[1]), "typical_us": float(row[4])}
        return {"iterations": int(row[1]), "average_MB_per_s": float(row[3])}
    except (IndexError, ValueError):
        raise Failure(f"no report:\n{output}") from None


def rping(lab):
    """Connections, SENDs, READs and WRITEs with verified contents, through the connection
    manager."""
    count = 20
    server = f"rping -s -a {lab.server.address} -C {count} -V -v"
    client = f"rping -c -a {lab.server.address} -C {count} -V -v"
    output, _ = both(lab, server, client, 7174, True)
    seen = len(re.findall(r"^ping data:", output, re.MULTILINE))
    if seen != count:
        raise Failure(f"{seen} of {count} pings:\n{output}")
    return {"pings": seen}


def ping(lab):
    """Traffic that is no RDMA at all: ARP and ICMP, also in fragments. Nothing repeats it."""
    if lab.loss:
        return {"skipped": "frames are lost"}
    sizes = (56, 1400) if lab.options.no_fragments else (56, 4000)
    for size in sizes:
        status, output = lab.clients[0].run(f"ping -c 5 -i 0.2 -s {size} {lab.server.address}")
        if status or "5 packets received" not in output:
            raise Failure(output)
    return {"pings": 10}


def kv(threads, operations, writes, options="-F", limit=300):
    """A test with kv.c: the server proves what its network did."""

    def run(lab):
        options_here = f"-T {lab.qp_timeout} {options}"
        return run_kv(lab, threads, operations, writes, options_here, limit)

    return run


def run_kv(lab, threads, operations, writes, options, limit=300):
    """A store in each server's guest, and clients of each of them in the others."""
    common = f"-k 64 -o {operations} -p {KV_PORT} {options}"
    connections = threads * len(lab.clients)
    stores = [
        (guest, guest.start(f"kv server -c {connections} {common}", limit)) for guest in lab.servers
    ]
    for guest, _ in stores:
        wait_listening(guest, KV_PORT, cm=False)
    command = f"kv client -t {threads} -w {writes} {common}"
    started = [
        (peer, peer.start(f"{command} -a {guest.address} -s {number + 1}", limit))
        for number, peer in enumerate(lab.clients)
        for guest in lab.servers
    ]
    found, wrong = [], []
    for peer, number in started:
        try:
            status, output = peer.finish(number, limit + 10)
        except TimeoutError as error:
            raise Failure(str(error)) from None
        if status:
            wrong.append(f"{peer.name}: status {status}: {output}")
        else:
            found.append(json.loads(output.splitlines()[-1]))
    proofs = []
    for guest, number in stores:
        if wrong:
            guest.run("killall -9 kv")
        status, output = guest.finish(number, limit + 10)
        if status:
            wrong.append(f"{guest.name}: status {status}: {output}")
        else:
            proofs.append(json.loads(output.splitlines()[-1]))
    if wrong:
        raise Failure("\n".join(wrong))
    proof = {name: sum(each[name] for each in proofs) for name in proofs[0]}
    proof["operations_per_s"] = sum(each["operations_per_s"] for each in found)
    proof["late_swaps"] = sum(each["late_swaps"] for each in found)
    return proof


def perftest_cases():
    """All of perftest's verbs, latency and bandwidth, set up over TCP and with rdma_cm."""
    small, large = "-s 1024 -n 100", "-s 16384 -n 20 -q 4"
    # One packet a message, long enough to be learnt and folded while they run.
    many = "-s 1024 -n 2000 -q 4"
    swap, add = "-n 100 -A CMP_AND_SWAP", "-n 100 -A FETCH_AND_ADD"
    return [
        Case("write latency", perftest("ib_write_lat", small), quick=True),
        Case("read latency", perftest("ib_read_lat", small), quick=True),
        Case("send latency", perftest("ib_send_lat", small)),
        Case("compare-and-swap latency", perftest("ib_atomic_lat", swap), quick=True),
        Case("fetch-and-add latency", perftest("ib_atomic_lat", add)),
        Case("write bandwidth", perftest("ib_write_bw", large)),
        Case("write bandwidth, one packet", perftest("ib_write_bw", many)),
        Case("read bandwidth, one packet", perftest("ib_read_bw", many)),
        Case("atomics, many", perftest("ib_atomic_bw", "-n 2000 -q 4 -A FETCH_AND_ADD")),
        Case("read bandwidth", perftest("ib_read_bw", large)),
        Case("send bandwidth", perftest("ib_send_bw", large)),
        Case("atomic bandwidth", perftest("ib_atomic_bw", "-n 100 -q 4 -A FETCH_AND_ADD")),
        Case("rdma_cm write latency", perftest("ib_write_lat", small, cm=True), quick=True),
        Case("rdma_cm send latency", perftest("ib_send_lat", small, cm=True)),
        Case("rdma_cm read bandwidth", perftest("ib_read_bw", "-s 4096 -n 50", cm=True)),
    ]


def kv_cases():
    """The store with one and with two machines of clients."""
    return [
        Case("kv half writes", kv(8, 100, 50), quick=True),
        Case("kv few writes", kv(16, 100, 5)),
        Case("kv all writes, few keys", kv(16, 40, 100, "-F -z 1.5")),
        Case("kv swaps behind writes", kv(8, 100, 50, "-F -P")),
        Case("kv with loss", kv(8, 60, 50), loss=1),
        Case("kv two machines", kv(8, 100, 50), clients=2),
        Case("kv two machines, all writes", kv(8, 60, 100, "-F -P"), clients=2),
        Case("kv two machines with loss", kv(4, 60, 50), clients=2, loss=1),
    ]


def loss_cases(percent):
    """16 clients on a network that loses frames."""
    # perftest waits forever, on any wire, if -n is no multiple of -t here.
    many = "-n 304 -q 16 -t 16"
    tests = [
        ("write latency", perftest("ib_write_lat", "-s 1024 -n 100"), 1),
        ("write bandwidth", perftest("ib_write_bw", f"-s 1024 {many}"), 1),
        ("read bandwidth", perftest("ib_read_bw", f"-s 1024 {many}"), 1),
        ("atomic bandwidth", perftest("ib_atomic_bw", f"{many} -A FETCH_AND_ADD"), 1),
        ("kv half writes", kv(16, 60, 50), 1),
        ("kv all writes, few keys", kv(16, 30, 100, "-F -z 1.5"), 1),
        ("kv two machines", kv(8, 60, 50), 2),
    ]
    return [
        Case(f"{percent} % lost: {name}", run, machines, loss=percent)
        for name, run, machines in tests
    ]


def judge_workers(_, counters):
    """Whether all workers had something to do."""
    idle = [worker for worker in counters["workers"] if not worker["sent"]]
    return [f"a worker has sent nothing: {counters['workers']}"] if idle else []


def servers_cases():
    """The store on two machines at a time, each with clients on both others."""
    tests = [
        ("half writes", kv(8, 60, 50), 0),
        ("all writes, few keys", kv(4, 40, 100, "-F -z 1.5"), 0),
        ("swaps behind writes", kv(4, 60, 50, "-F -P"), 0),
        ("1 % lost", kv(4, 60, 50), 1),
        ("5 % lost", kv(4, 40, 50), 5),
    ]
    return [
        Case(f"two servers: {name}", run, 2, 2, loss=percent, judge=judge_workers)
        for name, run, percent in tests
    ]


def crash(box):
    """The middlebox is killed, and started again at once."""
    return box.crash()


def hand_over(box):
    """Another process takes over from the middlebox."""
    return box.hand_over()


def changes(run, change, times, every):
    """A test while another middlebox follows the one before, so many times: it has to take longer
    than these, on a fast machine as well."""

    def run_with_changes(lab):
        with ThreadPoolExecutor(1) as pool:
            # What this thread starts ends with it, so the middlebox is started here.
            found, gaps = pool.submit(run, lab), []
            # What the machines say before is no queue pair's, and is not repeated soon.
            began = lambda: found.done() or lab.box.report().get("mapped", 0) > 100
            process.until(began, 60, "requests")
            while len(gaps) < times and not wait([found], every).done:
                gaps.append(change(lab.box))
            found = found.result()
        return {**found, "changes": len(gaps), "longest_s": max(gaps, default=0)}

    def judge(found, _):
        few = found["changes"] < times
        return [f"it was over after {found['changes']} changes"] if few else []

    return run_with_changes, judge


def crash_cases():
    """The store while the middlebox is killed again and again."""
    tests = [
        ("half writes, 20 times", kv(8, 6000, 50, limit=900), 20, 1.0, 1, 0),
        ("swaps behind writes", kv(8, 2200, 50, "-F -P"), 6, 1.5, 1, 0),
        ("two machines", kv(4, 2200, 50), 6, 1.5, 2, 0),
        ("1 % lost", kv(8, 1400, 50), 6, 1.5, 1, 1),
    ]
    return change_cases("crash", crash, tests)


def hand_over_cases():
    """The store while one process after the other takes over."""
    tests = [
        ("half writes, 20 times", kv(8, 6000, 50, limit=900), 20, 1.0, 1, 0),
        ("swaps behind writes", kv(8, 2200, 50, "-F -P"), 6, 1.5, 1, 0),
        ("1 % lost", kv(8, 1400, 50), 6, 1.5, 1, 1),
    ]
    forms = [("half writes, 20 times", kv(8, 6000, 50, limit=900), 20, 1.0, 1, 0)]
    return [
        *change_cases("hand over", hand_over, tests),
        *change_cases("change form", lambda box: box.change_form(), forms),
    ]


def standby_cases():
    """The store while one of two hosts fails, and the other one goes on."""
    crashed = [
        ("half writes, 20 times", kv(8, 11_000, 50, limit=900), 20, 0.5, 1, 0),
        ("swaps behind writes", kv(8, 3500, 50, "-F -P"), 5, 0.5, 1, 0),
        ("1 % lost", kv(8, 1800, 50), 4, 0.5, 1, 1),
    ]
    few = lambda rounds, times: [("half writes", kv(8, rounds, 50), times, 0.5, 1, 0)]
    return [
        *change_cases("fail over", crash, crashed),
        *change_cases("restart", lambda box: box.restart(), few(2500, 6)),
        *change_cases("hand over to the other host", hand_over, few(3000, 6)),
        *change_cases("stand still", lambda box: box.stand_still(), few(2000, 3)),
    ]


def arbiter_cases():
    """The store while two hosts do not hear each other."""
    few = [("half writes", kv(8, 2500, 50), 3, 0.5, 1, 0)]
    return change_cases("cut", lambda box: box.cut(), few)


def change_cases(what, change, tests):
    """Tests while one middlebox follows the other."""
    cases = []
    for name, run, times, every, clients, percent in tests:
        run, judge = changes(run, change, times, every)
        cases.append(Case(f"{what}: {name}", run, clients, loss=percent, judge=judge))
    return cases


def hostile(side, options=""):
    """The store, while somebody sends at one side what nobody should."""

    def run(lab):
        entrance = lab.wire.entrances[side]
        watch = lab.wire.taps[0] if side == CLIENTS else lab.wire.taps[-1]
        where = f"--entrance {entrance} --watch {watch} --side {side}"
        command = [sys.executable, f"{HERE}/hostile.py", *f"{where} {options}".split()]
        command += ["--pid", str(lab.box.process.pid)]
        log, out = f"{lab.test_folder}/hostile.log", f"{lab.test_folder}/hostile.json"
        with open(log, "wb") as errors, open(out, "wb") as output:
            sender = process.start(command, log, stdout=output, stderr=errors)
        failed = None
        try:
            found = run_kv(lab, 16, 300, 50, f"-T {QP_TIMEOUT_HOSTILE} -F", HOSTILE_LIMIT)
        except Failure as failure:
            failed = failure
        finally:
            process.stop(sender)
        try:
            with open(out, encoding="utf-8") as file:
                sent = json.load(file)
        except ValueError:
            raise Failure(f"the sender ended: {process.tail(log)}") from failed
        if failed:
            raise Failure(f"{failed}\nsent meanwhile: {sent['frames']}, {sent['kinds']}")
        memory = [*sent.pop("memory"), (sent["frames"], lab.box.memory_kb())]
        warm = [size for frames, size in memory if frames >= HOSTILE_WARM]
        return {
            **found,
            "side": side,
            "hostile": sent,
            "hostile_frames": sent["frames"],
            "hostile_frames_per_s": sent["burst_rate"],
            "lost_before": lost_before(entrance),
            "memory_kB": memory[-1][1],
            "memory_grew_kB": memory[-1][1] - warm[0] if warm else None,
        }

    return run


def judge_hostile(found, counters):
    """What the middlebox has counted of it, and whether it has grown."""
    wrong = []
    if found["memory_grew_kB"] is None:
        return [f"too little was sent to judge: {found['hostile_frames']} frames"]
    if found["memory_grew_kB"] > HOSTILE_GROWTH_KB:
        wrong.append(f"the middlebox has grown by {found['memory_grew_kB']} kB")
    # Not every driver knows what its port was too slow for.
    port = counters["ports"][{CLIENTS: "client", SERVERS: "server"}[found["side"]]]
    arrived = port["received"] + port["receive_missed"] + found["lost_before"]
    if arrived < found["hostile_frames"] * HOSTILE_ARRIVE:
        wrong.append(f"of {found['hostile_frames']} frames, {arrived} came to the middlebox")
    gone = counters["passed"] + sum(counters["drops"].values())
    if gone < port["received"] * HOSTILE_ARRIVE:
        wrong.append(f"of {port['received']} frames, {gone} were passed or dropped")
    return wrong


def hostile_cases():
    """The store beside a sender that means no good."""
    tests = [
        ("clients' side", CLIENTS, ""),
        ("servers' side", SERVERS, ""),
        ("strangers ask", CLIENTS, "--kinds asking"),
        ("tagged copies", CLIENTS, "--kinds tagged"),
        ("answers turned back", CLIENTS, "--kinds turned --watch tap-server0"),
        ("requests turned back", SERVERS, "--kinds turned --watch tap0"),
    ]
    return [
        Case(f"hostile: {name}", hostile(side, options), hostile=True, judge=judge_hostile)
        for name, side, options in tests
    ]


def suite(name):
    """The tests of a suite, in their order."""
    if name == "hostile":
        return hostile_cases()
    if name == "servers":
        return servers_cases()
    if name == "crash":
        return crash_cases()
    if name == "hand-over":
        return hand_over_cases()
    if name == "standby":
        return [*standby_cases(), *arbiter_cases()]
    if name == "loss":
        return [*loss_cases(1), *loss_cases(5)]
    everything = [
        Case("ping", ping, quick=True),
        *perftest_cases(),
        Case("rping", rping, quick=True),
        *kv_cases(),
    ]
    if name == "all":
        others = ["loss", "servers", "crash", "hand-over", "standby", "hostile"]
        return everything + [case for other in others for case in suite(other)]
    return everything if name == "full" else [case for case in everything if case.quick]
