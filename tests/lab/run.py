#!/usr/bin/env python3
"""Run real RDMA applications through qpmux-live.

Boots virtual machines with Linux soft-RoCE in a network namespace of its own, puts a middlebox
between the machines of the clients and that of the server, and runs RDMA programs across. Each
test has a fresh middlebox. Needs root, and Debian packages that it names if they are missing.

Exit status: 0 every test passed, 1 a test failed, 2 the lab could not be set up.
"""

import argparse
import json
import os
import re
import shutil
import stat
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import cases
import image
import needs
import process
from guest import Guest
from pair import Pair, second_interfaces
from vhost import LAB, VhostWire
from wire import Middlebox, Wire

# A guest's only processor may stall longer than 67 ms, the usual timeout of queue pairs, which is
# code 14: 18 is 1.07 s. Where frames are lost, whatever is not noticed otherwise waits for it: 16
# is 268 ms.
QP_TIMEOUT, QP_TIMEOUT_LOSS = 18, 16

TOP = os.path.dirname(os.path.dirname(HERE))


def percent(text):
    """A share of frames."""
    value = float(text)
    if not 0.01 <= value <= 20:
        raise argparse.ArgumentTypeError("must be from 0.01 to 20")
    return value


def add_wire(parser):
    """What is between the machines."""
    parser.add_argument(
        "--wire",
        choices=["middlebox", "bridge"],
        default="middlebox",
        help="bridge: no middlebox, to see what the machines do by themselves",
    )
    parser.add_argument(
        "--vhost",
        dest="wire",
        action="store_const",
        const="vhost",
        help="join machines and middlebox by vhost-user; only tests with one machine on each side",
    )
    parser.add_argument(
        "--middlebox",
        metavar="PATH",
        default=f"{TOP}/target/release/qpmux-live",
        help="program, run as PATH --config FILE (default: target/release/qpmux-live)",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=f"{HERE}/pass.toml",
        help="its configuration; the interfaces are called clients and servers",
    )


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", maxsplit=1)[0],
        epilog="Example: sudo tests/lab/run.py --suite smoke",
    )
    suites = ["smoke", "full", "loss", "servers", "crash", "hand-over", "standby", "hostile"]
    parser.add_argument("--suite", choices=suites, default="smoke")
    parser.add_argument(
        "--only", metavar="REGEX", help="only tests whose names match, of any suite"
    )
    add_wire(parser)
    parser.add_argument(
        "--loss",
        type=percent,
        metavar="PERCENT",
        help="lose so many of all frames in every test, at each machine and each way (0.01 to 20)",
    )
    parser.add_argument(
        "--expect",
        metavar="COUNTER",
        action="append",
        default=[],
        help="fail unless the middlebox counted this in some test (may be given several times)",
    )
    parser.add_argument(
        "--no-fragments",
        action="store_true",
        help="no ping of several fragments: DPDK's net_af_packet joins them, too long to be sent",
    )
    parser.add_argument(
        "--tries",
        type=int,
        default=1,
        metavar="N",
        help="run a test that fails again, N times in all; each is told (1)",
    )
    parser.add_argument("--mtu", type=int, default=1500, help="of all interfaces (1500)")
    parser.add_argument(
        "--accelerator",
        choices=["tcg", "kvm"],
        default="tcg",
        help="tcg works everywhere; kvm is much faster where it works",
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        default="out/lab",
        help="where captures and logs of failed tests go (out/lab)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def chosen(options):
    """The tests that were asked for, and those of them that this wire is not for."""
    asked = cases.suite("all" if options.only else options.suite)
    if options.only:
        asked = [case for case in asked if re.search(options.only, case.name)]
    fits = lambda case: options.wire != "vhost" or case.has_one_machine_a_side()
    return [case for case in asked if fits(case)], [case for case in asked if not fits(case)]


class Lab:
    """Machines and wire of a run."""

    def __init__(self, options, tests):
        self.options = options
        clients = max(case.clients for case in tests)
        servers = max(case.servers for case in tests)
        self.folder = process.own_folder()
        process.clean_up_at_end()
        process.own_network()
        begin = time.monotonic()
        self.kernel = image.build(self.folder)
        self.build_s = time.monotonic() - begin
        entrances = any(case.hostile for case in tests)
        # Middleboxes.
        self.two = False
        if options.wire == "vhost":
            self.wire = VhostWire(options.config, self.folder)
        else:
            with open(options.config, encoding="utf-8") as file:
                self.two = "[standby]" in file.read()
            self.wire = Wire(clients, servers, options, entrances, self.two)
            if self.two:
                second_interfaces(options.mtu)
        # What the machines say to each other while they start has to pass as well.
        box = self.middlebox(self.folder)
        self.guests = [
            Guest(number, link, self.folder, options.mtu, options.accelerator)
            for number, link in enumerate(self.wire.links)
        ]
        if box:
            box.wait()
        for guest in self.guests:
            guest.wait_ready()
        if box:
            box.stop()
        self.start_s = time.monotonic() - begin
        self.first_server = clients
        self.servers, self.clients = [], []
        self.loss = 0
        # Of the test that runs.
        self.box, self.test_folder = None, None

    @property
    def server(self):
        """The only server, or the first."""
        return self.servers[0]

    @property
    def qp_timeout(self):
        """Code of the local ACK timeout that the tests' queue pairs shall have."""
        return QP_TIMEOUT_LOSS if self.loss else QP_TIMEOUT

    def middlebox(self, folder):
        """A fresh middlebox, if there is to be one."""
        if self.options.wire == "bridge":
            return None
        with open(self.options.config, encoding="utf-8") as file:
            text = file.read().replace("@FOLDER@", folder).replace(LAB, self.folder)
        config = f"{folder}/live.toml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        kind = Pair if self.two else Middlebox
        return kind(self.options.middlebox, config, self.wire, folder)

    def run(self, case):
        """Runs one test. Returns its row."""
        folder = f"{self.folder}/test"
        os.mkdir(folder)
        self.clients = self.guests[: case.clients]
        self.servers = self.guests[self.first_server :][: case.servers]
        begin = time.monotonic()
        found, wrong, counters = {}, [], {}
        box = capture = None
        try:
            box = self.middlebox(folder)
            self.box, self.test_folder = box, folder
            if box:
                box.wait()
            self.wire.settle(self.guests)
            capture = self.wire.capture(box, folder)
            found = self.under_loss(case)
        except cases.Failure as failure:
            wrong.append(str(failure))
        except (OSError, RuntimeError, ValueError):
            wrong.append(traceback.format_exc())
        seconds = time.monotonic() - begin
        if capture:
            capture.stop()
        if box:
            counters, ended = box.stop()
            wrong += ended
        if case.judge and box and not wrong:
            wrong += case.judge(found, counters)
        row = {"test": case.name, "passed": not wrong, "seconds": round(seconds, 2)}
        row.update({"result": found, "middlebox": counters, "wrong": wrong})
        if wrong:
            row["kept"] = self.keep(case, folder, wrong)
        shutil.rmtree(folder)
        return row

    def under_loss(self, case):
        """Runs the test's function, on a network that loses what was asked for."""
        self.loss = self.options.loss or case.loss
        if not self.loss:
            return case.run(self)
        guests = [*self.clients, *self.servers]
        try:
            for guest in guests:
                guest.lose(self.loss)
            found = case.run(self)
        finally:
            lost = [guest.lose_no_more() for guest in guests]
        if not all(sum(way) for way in zip(*lost)):
            raise cases.Failure(f"no frame was lost: {lost}")
        return {**found, "frames_lost": sum(map(sum, lost))}

    def keep(self, case, folder, wrong):
        """Keeps what may tell why a test failed. Returns where."""
        name = re.sub(r"\W+", "-", case.name)
        target = f"{self.options.keep}/{name}-{time.strftime('%Y%m%dT%H%M%S')}"
        # Sockets cannot be copied.
        is_socket = lambda path: stat.S_ISSOCK(os.lstat(path).st_mode)
        left_out = lambda at, names: [name for name in names if is_socket(f"{at}/{name}")]
        shutil.copytree(folder, target, ignore=left_out)
        for guest in self.guests:
            shutil.copy(guest.console, target)
        with open(f"{target}/wrong.txt", "w", encoding="utf-8") as file:
            file.write("\n".join(wrong) + "\n")
        return target


def text_of(row):
    """The line of a table about a test."""
    shown = {
        name: value
        for name, value in row["result"].items()
        if name in ("typical_us", "average_MB_per_s", "pings", "operations_per_s", "updates")
        or (name in ("ghosts", "late_swaps", "frames_lost", "rejected") and value)
        or name in ("hostile_frames", "hostile_frames_per_s", "memory_grew_kB")
        or name in ("changes", "longest_s")
    }
    words = [f"{name} {value:g}" for name, value in shown.items() if value is not None]
    ports = row["middlebox"].get("ports", {})
    lost = sum(
        count
        for port in ports.values()
        for name, count in port.items()
        if name not in ("received", "sent", "handed_over")
    )
    if ports:
        words.append(f"passed {row['middlebox']['passed']}")
    for name in ("mapped", "address_hits", "replaced_atomics"):
        if row["middlebox"].get(name):
            words.append(f"{name} {row['middlebox'][name]}")
    handed = sum(port.get("handed_over", 0) for port in ports.values())
    if handed:
        words.append(f"handed over {handed}")
    if lost:
        words.append(f"LOST {lost}")
    verdict = "ok" if row["passed"] else "FAILED"
    return f"{row['test']:<28} {verdict:<7} {row['seconds']:6.2f} s  {', '.join(words)}"


def tell(row, out):
    """Prints what a test did."""
    print(text_of(row), file=out, flush=True)
    for line in row["wrong"]:
        print("    " + line.strip().replace("\n", "\n    "), file=out)
    if "kept" in row:
        print(f"    captures and logs: {row['kept']}", file=out, flush=True)


def sum_of(rows, counter):
    """What the middlebox counted under this name, in all tests."""
    return sum(row["middlebox"].get(counter, 0) for row in rows)


def main():
    """Runs the tests that were asked for."""
    options = arguments()
    tests, left_out = chosen(options)
    if not tests:
        why = "is for one machine on each side, as --vhost is" if left_out else "has such a name"
        needs.give_up(f"no test {why}")
    needs.check()
    if options.wire == "bridge" and any(case.hostile for case in tests):
        needs.give_up("hostile tests need a middlebox")
    if options.wire != "bridge" and not os.access(options.middlebox, os.X_OK):
        build = "cargo build --release -p qpmux-live"
        needs.give_up(f"there is no {options.middlebox}: {build}")
    out = sys.stderr if options.json else sys.stdout
    begin = time.monotonic()
    lab = Lab(options, tests)
    machines = len(lab.guests)
    print(f"{machines} machines, Linux {lab.kernel}, ready in {lab.start_s:.1f} s", file=out)
    for case in left_out:
        print(f"{case.name:<28} left out: more machines than --vhost joins", file=out)
    rows = []
    for case in tests:
        for left in reversed(range(options.tries)):
            row = lab.run(case)
            tell(row, out)
            if row["passed"] or not left:
                break
        rows.append(row)
    missed = [name for name in options.expect if not sum_of(rows, name)]
    for name in missed:
        print(f"expected: {name} is 0 in every test", file=out)
    failed = sum(not row["passed"] for row in rows)
    total = time.monotonic() - begin
    print(f"{len(rows) - failed} passed, {failed} failed, {total:.1f} s", file=out)
    if options.json:
        summary = {"wire": options.wire, "machines": machines, "kernel": lab.kernel}
        times = {"ready_s": round(lab.start_s, 2), "total_s": round(total, 2)}
        results = {"failed": failed, "missed": missed, "tests": rows}
        print(json.dumps({**summary, **times, **results}, indent=2))
    return 1 if failed or missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, RuntimeError) as error:
        needs.give_up(error)
