"""`torn_reader.py PATH SECONDS one|all`: reads a file in a tight loop, with one read(2) or until its end; prints as JSON how many
times, the last number, and what was no version of it, or an older one than before.
"""

import json
import os
import sys
import time


def version(number: int) -> bytes:
    """Return a version whose bytes name it at both ends; lengths grow, shrink and stay."""
    return b"%d:%b:%d" % (number, b"x" * (number * 7919 % 50), number)


def read(path: str, way: str) -> bytes:
    if way == "all":
        with open(path, "rb") as file:
            return file.read()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def main() -> None:
    path, seconds, way = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    end = time.monotonic() + seconds
    reads, last = 0, 0
    wrong: list[list[object]] = []
    while time.monotonic() < end:
        data = read(path, way)
        reads += 1
        if not data:
            continue  # a version too: between a truncation and what follows
        head = data.partition(b":")[0]
        number = int(head) if head.isdigit() else -1
        if data != version(number) or number < last:
            wrong.append([last, repr(data)])
        last = max(last, number)
    print(json.dumps({"reads": reads, "last": last, "wrong": len(wrong), "first": wrong[:5]}))


if __name__ == "__main__":
    main()
