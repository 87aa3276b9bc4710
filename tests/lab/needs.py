"""What the lab needs of this machine, and which Debian package has it."""

import glob
import os
import platform
import shutil
import subprocess
import sys

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "gcc": "gcc",
    "ip": "iproute2",
    "rdma": "iproute2",
    "tc": "iproute2",
    "modprobe": "kmod",
    "ldd": "libc-bin",
    "tcpdump": "tcpdump",
    "ib_write_lat": "perftest",
    "rping": "rdmacm-utils",
}
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
PROVIDER = f"{LIBRARIES}/libibverbs/librxe-rdmav*.so"
BUSYBOX = "/bin/busybox"

# Directories that a plain user's PATH may lack.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"


def kernels():
    """Versions with an image and the soft-RoCE module, newest last."""
    versions = [os.path.basename(path) for path in glob.glob("/lib/modules/*")]
    usable = [
        version
        for version in versions
        if os.path.exists(f"/boot/vmlinuz-{version}")
        and glob.glob(f"/lib/modules/{version}/kernel/drivers/infiniband/sw/rxe/rdma_rxe.ko*")
    ]
    numbers = lambda version: [int(n) for n in version.replace("-", ".").split(".") if n.isdigit()]
    return sorted(usable, key=numbers)


def is_static(program):
    """Whether a program needs no shared libraries."""
    done = subprocess.run(["ldd", program], capture_output=True, check=False)
    return done.returncode != 0


def missing_packages():
    """Debian packages that are to be installed, sorted."""
    missing = {package for name, package in PROGRAMS.items() if not shutil.which(name)}
    if not os.path.exists("/usr/include/infiniband/verbs.h"):
        missing.add("libibverbs-dev")
    if not os.path.exists("/usr/include/stdlib.h"):
        missing.add("libc6-dev")
    if not glob.glob(PROVIDER) or not os.path.exists("/etc/libibverbs.d/rxe.driver"):
        missing.add("ibverbs-providers")
    if not os.path.exists(BUSYBOX) or not is_static(BUSYBOX):
        missing.add("busybox-static")
    if not kernels():
        missing.add("linux-image-amd64")
    return sorted(missing)


def give_up(reason):
    """Ends the program: the lab cannot run."""
    print(f"lab: {reason}", file=sys.stderr)
    sys.exit(2)


def check():
    """Ends the program with advice if the lab cannot run here."""
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        give_up("needs Linux on x86-64")
    missing = missing_packages()
    if missing:
        names = " ".join(missing)
        install = f"apt-get install --no-install-recommends {names}"
        give_up(f"packages are missing; install them with\n  {install}")
    if os.geteuid() != 0:
        give_up("needs root, for network interfaces")
