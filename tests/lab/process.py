"""Processes that end with this one, and a folder that goes with it."""

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
started = []
# The helper that removes the folder: it sees this process end by its standard input closing.
removers = []


def end_with_parent():
    """In a child: be killed when the parent ends, however it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, log, **options):
    """Starts a process with its output in the file `log`."""
    with open(log, "wb") as output:
        options = {"stdout": output, "stderr": subprocess.STDOUT, **options}
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            command, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent, **options
        )
    started.append(process)
    return process


def stop(process, number=signal.SIGTERM, patience=5, again=None):
    """Asks a process to end, once more after `again` seconds, then makes it. Returns its exit
    status."""
    if process.poll() is None:
        process.send_signal(number)
        if again is not None:
            try:
                process.wait(again)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process in started:
        started.remove(process)
    return process.returncode


def until(condition, seconds, what):
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def own_network():
    """Moves this process into a network namespace of its own, which ends with it."""
    if LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    for which in ("all", "default"):
        with open(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6", "w", encoding="ascii") as file:
            file.write("1")


def own_folder():
    """A temporary folder. A helper waits for the end of this process, and removes it."""
    folder = tempfile.mkdtemp(prefix="qpmux-lab.")
    script = "import shutil, sys; sys.stdin.read(); shutil.rmtree(sys.argv[1], True)"
    remover = subprocess.Popen(  # pylint: disable=consider-using-with
        [sys.executable, "-c", script, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    removers.append(remover)
    atexit.register(shutil.rmtree, folder, True)
    return folder


def clean_up_at_end():
    """Lets a termination signal end this process in order, and its children with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(128 + signal.SIGHUP))

    @atexit.register
    def stop_all():
        for process in reversed(list(started)):
            stop(process)


def tail(path, size=2000):
    """The end of a text file."""
    if not os.path.exists(path):
        return ""
    with open(path, errors="replace", encoding="utf-8") as file:
        return file.read()[-size:]
