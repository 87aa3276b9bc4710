#!/usr/bin/env python3
"""What a lookup costs in libCacheSim's LRU, for the cases of `qpmux bench caches`.

    pip install libcachesim==0.3.5
    tests/scripts/libcachesim_lru.py

The library reads a trace from a file (its oracleGeneral format) in its own loop, so nothing of
Python is in the times. Reading is: it is measured with a trace that has one object alone, whose
lookup is an upper bound of it. Of several sizes of its hash table the best one counts.
"""

import bisect
import itertools
import random
import struct
import tempfile
import time

import libcachesim

REQUESTS = 2_000_000
ROUNDS = 5
HASH_POWERS = (14, 16, 18, 20, 24)
RECORD = struct.Struct("<IQIq")
# What is looked up: keys, entries of the cache, and whether by Zipf 0.99 or uniformly.
CASES = {
    "one object": (1, 1, False),
    "400 queue pairs, all there": (400, 2_792, False),
    "8,192 queue pairs": (8_192, 2_792, False),
    "262,144 pages": (262_144, 32_768, True),
}


def lookups(keys: int, zipf: bool) -> list[int]:
    """Keys from 1 on."""
    draw = random.Random(7)
    if not zipf:
        return [draw.randrange(keys) + 1 for _ in range(REQUESTS)]
    sums = list(itertools.accumulate(1 / rank**0.99 for rank in range(1, keys + 1)))
    names = list(range(1, keys + 1))
    draw.shuffle(names)
    return [names[bisect.bisect_left(sums, draw.random() * sums[-1])] for _ in range(REQUESTS)]


def measure(path: str, entries: int, hash_power: int) -> tuple[float, float]:
    """Nanoseconds of processor time for each lookup, and the share that find theirs."""
    reader = libcachesim.TraceReader(path, libcachesim.TraceType.ORACLE_GENERAL_TRACE)
    cache = libcachesim.LRU(cache_size=entries, hashpower=hash_power)
    begin = time.thread_time_ns()
    missed, _ = cache.process_trace(reader)
    return (time.thread_time_ns() - begin) / REQUESTS, 1 - missed


def main() -> None:
    for what, (keys, entries, zipf) in CASES.items():
        with tempfile.NamedTemporaryFile(suffix=".bin") as trace:
            for at, key in enumerate(lookups(keys, zipf)):
                trace.write(RECORD.pack(at // 1000, key, 1, -2))
            trace.flush()
            found = []
            for power in HASH_POWERS:
                rounds = sorted(measure(trace.name, entries, power) for _ in range(ROUNDS))
                found.append((*rounds[ROUNDS // 2], power))
        ns, hits, power = min(found)
        print(f"{what:28} {ns:6.1f} ns, {hits:4.0%} find theirs, hash table of 2^{power}")


if __name__ == "__main__":
    main()
