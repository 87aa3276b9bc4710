"""What the guests boot: a kernel of this machine, and a file system with what the tests run."""

import glob
import lzma
import os
import shutil
import struct
import subprocess
import zlib

import needs

HERE = os.path.dirname(os.path.abspath(__file__))
# The last four lose frames.
MODULES = ["virtio_pci", "virtio_net", "ib_uverbs", "rdma_ucm", "rdma_rxe"]
MODULES += ["sch_netem", "sch_ingress", "cls_matchall", "act_gact"]
# The soft-RoCE driver asks for these by name while it starts; newer kernels have them built in.
MODULES_IF_THERE = ["crc32_generic", "crc32_pclmul"]
VERBS = ("write", "read", "send", "atomic")
PERFTEST = [f"ib_{verb}_{kind}" for verb in VERBS for kind in ("lat", "bw")]
# What busybox has too is to be called by its path.
PROGRAMS = ["rdma", "tc", "rping", *PERFTEST]
# Opened while a program runs, so that ldd does not tell of them.
PLUGINS = [needs.PROVIDER, "/lib/x86_64-linux-gnu/libgcc_s.so.1"]


def run(*command):
    """Output of a command that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def unpack_kernel(source, target):
    """Takes the kernel out of its compressed image, which a guest without hardware virtualization
    would do slowly. A kernel that is packed in an unknown way is used as it is."""
    with open(source, "rb") as file:
        image = file.read()
    # Documentation/x86/boot.rst: setup_sects, payload_offset and payload_length.
    setup = ((image[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    packed = image[setup + offset : setup + offset + length]
    if packed.startswith(b"\xfd7zXZ"):
        kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed)
    elif packed.startswith(b"\x1f\x8b"):
        kernel = zlib.decompressobj(31).decompress(packed)
    elif packed.startswith(b"\x28\xb5\x2f\xfd") and shutil.which("zstd"):
        unpack = ["zstd", "-dcq"]
        kernel = subprocess.run(unpack, input=packed, capture_output=True, check=False).stdout
    else:
        kernel = b""
    with open(target, "wb") as file:
        file.write(kernel if kernel.startswith(b"\x7fELF") else image)


def libraries(program):
    """Shared libraries that a program is linked with."""
    words = run("ldd", program).split()
    return {word for word in words if word.startswith("/")}


def module_files(version):
    """Kernel modules in the order in which they are to be loaded."""
    order = []
    for module in MODULES_IF_THERE + MODULES:
        command = ["modprobe", "-S", version, "--show-depends", module]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode and module in MODULES:
            raise RuntimeError(f"kernel {version} has no module {module}: {done.stderr}")
        lines = [line.split() for line in done.stdout.splitlines()]
        order += [line[1] for line in lines if line[0] == "insmod" and line[1] not in order]
    return order


def read_module(path):
    """A kernel module, unpacked."""
    with open(path, "rb") as file:
        data = file.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


class Archive:
    """A cpio archive in the format that the kernel takes (newc)."""

    def __init__(self):
        self.parts = []
        self.names = set()

    def add(self, name, data=b"", mode=0o100755):
        """Adds a file and the folders that lead to it."""
        folder = os.path.dirname(name)
        if folder and folder not in self.names:
            self.add(folder, mode=0o040755)
        if name in self.names:
            return
        self.names.add(name)
        self.entry(name, data, mode)

    def entry(self, name, data, mode):
        """Appends one entry: header, name and data, each filled up to a multiple of 4."""
        path = name.encode() + b"\0"
        number = len(self.parts) + 1
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0]
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        for part in (header + path, data):
            self.parts.append(part + b"\0" * (-len(part) % 4))

    def write(self, path):
        """Writes the archive."""
        self.entry("TRAILER!!!", b"", 0)
        with open(path, "wb") as file:
            file.writelines(self.parts)


def build(folder):
    """Makes `kernel` and `files` in the folder. Returns the kernel's version."""
    version = needs.kernels()[-1]
    unpack_kernel(f"/boot/vmlinuz-{version}", f"{folder}/kernel")
    source = os.path.join(HERE, "kv.c")
    options = ["-O2", "-Wall", "-Wextra", "-Werror"]
    run("gcc", *options, "-o", f"{folder}/kv", source, "-libverbs", "-lpthread", "-lm")

    archive = Archive()
    for name in ("proc", "sys", "dev", "tmp", "run"):
        archive.add(name, mode=0o040755)
    programs = [shutil.which(name) for name in PROGRAMS] + [f"{folder}/kv", needs.BUSYBOX]
    plugins = [path for pattern in PLUGINS for path in glob.glob(pattern)]
    shared = set().union(*(libraries(path) for path in programs[:-1] + plugins))
    files = {f"bin/{os.path.basename(path)}": path for path in programs}
    for path in [*shared, *plugins, "/etc/libibverbs.d/rxe.driver"]:
        files[path.lstrip("/")] = path
    for name, path in sorted(files.items()):
        with open(path, "rb") as file:
            archive.add(name, file.read())
    order = module_files(version)
    for number, path in enumerate(order):
        archive.add(f"modules/{number:02}.ko", read_module(path))
    with open(os.path.join(HERE, "guest-init.sh"), "rb") as file:
        archive.add("init", file.read())
    archive.write(f"{folder}/files")
    return version
