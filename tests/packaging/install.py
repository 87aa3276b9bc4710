#!/usr/bin/env python3
"""Make Debian packages of programs that are built, install them, use them, and purge them.

    tests/packaging/install.py

Needs root, and programs built as live/packaging/deb.sh builds them. This machine is not changed:
the packages go into an overlay over its file system, in mount and network namespaces of their own,
that keeps what is written in memory. dpkg installs there what is here already: the packages that
ours need must be installed on this machine.

Exit status: 0 all is as it must be, 1 something is not, 2 the test cannot be run here.
"""

import glob
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
DEB = os.path.join(TOP, "live/packaging/deb.sh")
INSIDE = "--inside"
CONFIG = "/etc/qpmux/live.toml"
UNIT = "/lib/systemd/system/qpmux-live.service"
DPDK_EXAMPLE = "/usr/share/doc/qpmux-live/examples/dpdk.conf"
AS_QPMUX = ["setpriv", "--reuid", "qpmux", "--regid", "qpmux", "--clear-groups", "--no-new-privs"]
ACCOUNTS = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"]

# What is there once both packages are.
INSTALLED = [
    "/usr/bin/qpmux",
    "/usr/bin/qpmux-live",
    UNIT,
    CONFIG,
    "/usr/share/bash-completion/completions/qpmux",
    "/usr/share/zsh/vendor-completions/_qpmux",
    "/usr/share/fish/vendor_completions.d/qpmux.fish",
    "/usr/share/man/man1/qpmux.1.gz",
    "/usr/share/man/man1/qpmux-replay.1.gz",
    "/usr/share/man/man8/qpmux-live.8.gz",
    DPDK_EXAMPLE,
    # Where its README sends its reader.
    "/usr/share/doc/qpmux-live/dpdk.md.gz",
    "/usr/share/doc/qpmux-live/restart.md.gz",
    "/usr/share/doc/qpmux/schemas/replay.json",
    "/usr/share/doc/qpmux/slurm/sweep.sbatch",
    "/usr/share/qpmux-live/grafana/qpmux-live.json",
] + [
    f"/usr/share/doc/{package}/{name}"
    for package in ["qpmux", "qpmux-live"]
    for name in ["README.md.gz", "copyright", "changelog.gz", "third-party.txt.gz"]
]

# What dpkg and its triggers may leave where nothing was.
LEFT = ("/var/lib/dpkg/", "/var/cache/", "/var/log/", "/var/lib/systemd/deb-systemd-helper")
LEFT_FILES = {f"/etc/{name}-" for name in ACCOUNTS} | {"/etc/.pwd.lock", "/etc/ld.so.cache"}

# Character devices that programs take for granted: of memory, and the terminal.
DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}

# Two ports of DPDK without a card, without hugepages, on less memory than the default.
PORTS = """
[client]
port = "net_af_packet0,iface=qpmux-a"
[server]
port = "net_af_packet1,iface=qpmux-b"
[limits]
frame_len_max = 2048
requests_max = 512
held_responses_max = 128
[dpdk]
eal = ["--no-huge", "--no-pci", "-m", "64", "--lcores=0"]
"""


class Wrong(Exception):
    """Something is not as it must be."""


def check(condition, what):
    """Complains unless the condition holds."""
    if not condition:
        raise Wrong(what)
    print(f"ok: {what}", flush=True)


def run(*command, **options):
    """A program's result; it must succeed."""
    options = {"check": True, "text": True, "stdout": subprocess.PIPE} | options
    return subprocess.run(command, **options)


def digests(folder):
    """File names and what is in them."""
    found = {}
    for path in sorted(glob.glob(f"{folder}/*") + glob.glob(f"{folder}/.*")):
        with open(path, "rb") as file:
            found[os.path.basename(path)] = hashlib.sha256(file.read()).hexdigest()
    return found


def make(work):
    """Makes the packages twice, differently, and once in vain. Returns their paths."""
    first, second, none = (os.path.join(work, name) for name in ["first", "second", "none"])
    run(DEB, "--built", "--out", first)
    elsewhere = dict(os.environ, LC_ALL="C.UTF-8", TZ="Asia/Tokyo", HOSTNAME="elsewhere")
    os.mkdir(second, 0o2755)
    one_core = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    old = os.umask(0o077)
    run(*one_core, DEB, "--built", "--out", second, env=elsewhere, cwd="/")
    os.umask(old)
    check(len(digests(first)) == 2, "two packages, and nothing beside them")
    check(digests(first) == digests(second), "made twice, they are the same to the byte")
    empty = dict(os.environ, CARGO_TARGET_DIR=os.path.join(work, "empty"))
    done = run(DEB, "--built", "--out", none, env=empty, check=False, stderr=subprocess.PIPE)
    check(done.returncode == 1 and "is missing" in done.stderr, "without programs it fails")
    # A program without DPDK is noticed when one package is finished already.
    release = os.path.join(work, "empty/release")
    os.makedirs(release)
    built = os.path.join(target_folder(), "release/qpmux")
    for name in ["qpmux", "qpmux-live"]:
        os.symlink(built, os.path.join(release, name))
    done = run(DEB, "--built", "--out", none, env=empty, check=False, stderr=subprocess.PIPE)
    check(done.returncode == 1 and "without DPDK" in done.stderr, "without DPDK it fails")
    check(not digests(none), "what has failed leaves nothing")
    return sorted(glob.glob(f"{first}/*.deb"))


def target_folder():
    """Where cargo puts what it builds."""
    cargo = f"{os.environ.get('CARGO_HOME', os.path.expanduser('~/.cargo'))}/bin"
    env = dict(os.environ, PATH=f"{cargo}:{os.environ['PATH']}")
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--no-deps"]
    return json.loads(run(*command, cwd=TOP, env=env).stdout)["target_directory"]


class Root:
    """This machine's file system with an overlay, to change at will."""

    def __init__(self, work):
        """Needs mount and network namespaces of its own."""
        self.upper, self.path = f"{work}/memory/upper", f"{work}/memory/root"
        # What the test takes away from the overlay on purpose.
        self.removed = set()
        os.mkdir(f"{work}/memory")
        run("mount", "-t", "tmpfs", "-o", "mode=755", "qpmux-test", f"{work}/memory")
        for name in ["upper", "work", "root"]:
            os.mkdir(f"{work}/memory/{name}")
        layers = f"lowerdir=/,upperdir={self.upper},workdir={work}/memory/work"
        run("mount", "-t", "overlay", "-o", layers, "qpmux-test", self.path)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "dev", f"{self.path}/dev")
        for name, (major, minor) in DEVICES.items():
            os.mknod(f"{self.path}/dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            os.chmod(f"{self.path}/dev/{name}", 0o666)
        run("mount", "-t", "proc", "proc", f"{self.path}/proc")
        run("mount", "-t", "sysfs", "sysfs", f"{self.path}/sys")
        # Without what says that systemd runs.
        run("mount", "-t", "tmpfs", "-o", "mode=755", "run", f"{self.path}/run")
        run("mount", "-t", "tmpfs", "tmp", f"{self.path}/tmp")

    def run(self, *command, **options):
        """Runs a program in there."""
        env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        return run("chroot", self.path, *command, env=env, **options)

    def read(self, path):
        """A file's content, or None."""
        try:
            with open(self.path + path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, path, text):
        """Makes a file."""
        with open(self.path + path, "w", encoding="utf-8") as file:
            file.write(text)

    def has(self, path):
        """Whether something is there."""
        return os.path.lexists(self.path + path)

    def changes(self):
        """Paths that are new, and paths that are gone."""
        new, gone = [], []
        for folder, folders, files in os.walk(self.upper):
            for name in folders + files:
                here = os.path.join(folder, name)
                path = here[len(self.upper) :]
                status = os.lstat(here)
                if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    gone.append(path)
                elif not os.path.lexists(path):
                    new.append(path)
        return sorted(new), sorted(gone)


def accounts(read):
    """The system's users and groups."""
    return {name: sorted((read(f"/etc/{name}") or "").splitlines()) for name in ACCOUNTS}


def read_here(path):
    """A file of this machine, or None."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def install(root, packages):
    """Installs, and looks at what is there."""
    places = []
    for package in packages:
        name = os.path.basename(package)
        with open(package, "rb") as file, open(f"{root.path}/tmp/{name}", "wb") as copy:
            copy.write(file.read())
        places.append(f"/tmp/{name}")
    done = root.run("dpkg", "-i", *places, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        print(done.stdout)
        raise Wrong("dpkg -i fails")
    missing = [path for path in INSTALLED if not root.has(path)]
    check(not missing, f"everything is installed (missing: {missing})")
    status = os.stat(root.path + CONFIG)
    mode = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    check(mode == (0o644, 0, 0), "the configuration is root's, and all may read it")
    conffiles = root.run("dpkg-query", "-W", "-f=${Conffiles}", "qpmux-live").stdout
    check(CONFIG in conffiles, "dpkg knows that it is a configuration")
    check("qpmux" in root.run("id", "qpmux").stdout, "the user is there")
    check(root.run("dpkg", "--verify", "qpmux", "qpmux-live").stdout == "", "dpkg finds all whole")
    wants = glob.glob(f"{root.path}/etc/systemd/system/*/qpmux-live.service")
    check(not wants, "the service is not enabled")


def use(root):
    """Runs what is installed."""
    run_version = root.run("qpmux", "--version").stdout
    check(run_version.startswith("qpmux "), "qpmux says its version")
    root.run("qpmux-live", "--config", CONFIG, "--check")
    check(True, "the configuration that is installed can be used")
    root.run(*AS_QPMUX, "qpmux-live", "--config", CONFIG, "--check")
    check(True, "by the service's user as well")
    if root.has("/usr/bin/man"):
        for page in ["qpmux", "qpmux-replay", "qpmux-live"]:
            check(page in root.run("man", "-w", page).stdout, f"man finds {page}")
    root.run("bash", "-n", "/usr/share/bash-completion/completions/qpmux")
    if root.has("/usr/bin/systemd-analyze"):
        done = root.run("systemd-analyze", "verify", UNIT, stderr=subprocess.STDOUT)
        check("qpmux" not in done.stdout, "systemd understands the service")
        folder = "/etc/systemd/system/qpmux-live.service.d"
        os.makedirs(root.path + folder)
        root.write(f"{folder}/dpdk.conf", root.read(DPDK_EXAMPLE))
        done = root.run("systemd-analyze", "verify", UNIT, stderr=subprocess.STDOUT)
        check("dpdk.conf" not in done.stdout, "and what it is to have for DPDK")
        os.unlink(f"{root.path}{folder}/dpdk.conf")
        os.rmdir(root.path + folder)


def use_ports(root):
    """Runs the loop on ports of DPDK, by a user with one right, and without DPDK's headers."""
    done = root.run("dpkg", "-L", "libdpdk-dev", check=False, stderr=subprocess.DEVNULL)
    root.removed |= set(done.stdout.splitlines())
    root.run("dpkg", "--remove", "--force-depends", "libdpdk-dev", stderr=subprocess.DEVNULL)
    for name in ["qpmux-a", "qpmux-b"]:
        run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
        # Without IPv6 nobody sends anything by himself.
        run("ip", "link", "set", name, "addrgenmode", "none", "up")
        run("ip", "link", "set", f"{name}-far", "addrgenmode", "none", "up")
    root.write("/tmp/ports.toml", PORTS)
    rights = "+net_raw,+net_admin"
    done = root.run(
        *AS_QPMUX,
        *["--inh-caps", rights, "--ambient-caps", rights, "--bounding-set", f"-all,{rights}"],
        *["qpmux-live", "--config", "/tmp/ports.toml", "--until-idle", "100"],
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        print(done.stdout)
    check(done.returncode == 0, "it runs on ports of DPDK, as the service's user")


def pretend_systemd(root):
    """Has what asks systemd written down, as if it ran."""
    os.makedirs(f"{root.path}/run/systemd/system")
    for name in ["systemctl", "deb-systemd-invoke"]:
        os.unlink(f"{root.path}/usr/bin/{name}")
        root.write(f"/usr/bin/{name}", f'#!/bin/sh\necho "{name} $*" >>/tmp/asked\n')
        os.chmod(f"{root.path}/usr/bin/{name}", 0o755)


def asked(root):
    """What systemd was asked, of our service and of everything, since last time."""
    lines = (root.read("/tmp/asked") or "").splitlines()
    root.write("/tmp/asked", "")
    os.chmod(f"{root.path}/tmp/asked", 0o666)
    return [line for line in lines if "qpmux" in line], lines


def upgrade(root, packages):
    """Installs the same again over a configuration that was changed, and an enabled service."""
    root.run("systemctl", "enable", "qpmux-live.service", stderr=subprocess.DEVNULL)
    pretend_systemd(root)
    changed = root.read(CONFIG) + "# changed\n"
    root.write(CONFIG, changed)
    places = [f"/tmp/{os.path.basename(package)}" for package in packages]
    root.run("dpkg", "-i", *places, stderr=subprocess.STDOUT)
    check(root.read(CONFIG) == changed, "an upgrade leaves the configuration")
    wants = "/etc/systemd/system/multi-user.target.wants/qpmux-live.service"
    check(root.has(wants), "and the service enabled")
    ours, everything = asked(root)
    check(not ours, f"and running as it was (asked: {ours})")
    check("systemctl --system daemon-reload" in everything, "and systemd knows of it")


def purge(root):
    """Takes all away again."""
    os.makedirs(root.path + "/var/lib/qpmux-live")
    root.run("dpkg", "--remove", "qpmux", "qpmux-live", stderr=subprocess.STDOUT)
    check(root.has(CONFIG), "a removed package leaves its configuration")
    stop = ["deb-systemd-invoke stop qpmux-live.service"]
    check(asked(root)[0] == stop, "and its service is stopped before")
    root.run("dpkg", "--purge", "qpmux", "qpmux-live", stderr=subprocess.STDOUT)
    check(accounts(root.read) == accounts(read_here), "no user and no group is left")
    new, gone = root.changes()
    kept = lambda path: (path.startswith(LEFT) and "qpmux" not in path) or path in LEFT_FILES
    left = [path for path in new if not kept(path)]
    check(not left, f"nothing is left (found: {left})")
    ours = root.removed | {path for path in gone if path.startswith("/var/lib/dpkg/")}
    lost = [path for path in gone if path not in ours]
    check(not lost, f"nothing else is gone (found: {lost})")


def missing():
    """What this machine lacks."""
    if os.geteuid() != 0:
        return "root"
    with open("/proc/filesystems", encoding="ascii") as file:
        if "overlay" not in file.read():
            run("modprobe", "overlay", check=False)
    if any(os.path.lexists(path) for path in INSTALLED):
        return "a machine without the packages"
    names = ["adduser", "dpkg-dev", "iproute2", "util-linux", "librte-net-af-packet23"]
    for name in names:
        done = run("dpkg-query", "-W", "-f=${Status}", name, check=False, stderr=subprocess.PIPE)
        if not done.stdout.endswith(" installed"):
            return f"the package {name}"
    return None


def inside(work):
    """The test, where it can do no harm: what is mounted goes with the namespaces."""
    packages = make(work)
    root = Root(work)
    install(root, packages)
    use(root)
    upgrade(root, packages)
    use_ports(root)
    purge(root)


def main():
    """Runs the test in namespaces of its own, and looks at this machine before and after."""
    if sys.argv[1:2] == [INSIDE]:
        inside(sys.argv[2])
        return 0
    lacking = missing()
    if lacking:
        print(f"install.py: needs {lacking}", file=sys.stderr)
        return 2
    before = accounts(read_here)
    with tempfile.TemporaryDirectory(prefix="qpmux-packaging-") as work:
        spaces = ["unshare", "--mount", "--net", "--propagation", "private"]
        command = [sys.executable, "-B", __file__, INSIDE, work]
        done = run(*spaces, *command, stdout=None, check=False)
        check(work not in read_here("/proc/mounts"), "nothing is mounted any more")
    check(accounts(read_here) == before, "this machine has the users that it had")
    there = [path for path in INSTALLED if os.path.lexists(path)]
    check(not there, f"and none of the files (found: {there})")
    return 1 if done.returncode else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Wrong as wrong:
        print(f"WRONG: {wrong}", flush=True)
        sys.exit(1)
