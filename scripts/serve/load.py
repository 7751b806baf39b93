#!/usr/bin/env python3
"""Puts a server with TEI's `POST /predict` under load and checks every answer.

  load.py --url http://127.0.0.1:8080 --texts FILE [--expect FILE] [--connections 1,8,64] [--requests N | --seconds S]

  --expect FILE   what `promptmix predict --file TEXTS` printed (JSON lines): label and probability of each text. An
                  answer with another label, or a probability that differs by more than 1e-4, is wrong.
  --per-request N texts of a request (1: a string; more: a list)
  --pid PID       of the server: its resident memory (peer servers have no such metric)
  --pause S       between two requests of a connection
  --no-wait       ask again at once after 429 and 503: ten times what the server can do, with enough connections

Prints one line of JSON for each number of connections: answers by status, wrong answers, texts per second, latency in
ms (p50, p99, largest), resident memory in MB before, in the middle and after, seconds until the first answer after the
load. The exit code is 1 if an answer was wrong or a connection broke.

The load comes from one process per core, which share the cores with the server. Needs nothing but Python 3.11.

example, 10^6 requests:  load.py --texts banking77.jsonl --expect predicted.jsonl --connections 64 --requests 1000000
example, overload:       load.py --texts banking77.jsonl --expect predicted.jsonl --connections 400 --per-request 64 \\
                                 --no-wait --seconds 60
"""
import argparse
import asyncio
import collections
import json
import multiprocessing
import os
import random
import socket
import sys
import time
import urllib.parse
import urllib.request


def read(path):
    texts = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            if line:
                texts.append(json.loads(line)["text"] if line.startswith("{") else line)
    return texts


def expected(path):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["label"], row["probability"]) for row in rows]


def is_wrong(answer, at, known):
    if known is None:
        return False
    best = max(answer, key=lambda it: it["score"])
    label, probability = known[at]
    close = abs(best["score"] - probability) < 1e-4
    # Two classes may be as probable as each other.
    return not close or (best["label"] != label and abs(best["score"] - probability) > 1e-5)


class Tally:
    def __init__(self):
        self.codes = collections.Counter()
        self.times = []
        self.wrong = self.broken = self.texts = 0


async def connection(args, texts, known, tally, budget, deadline, seed):
    dice = random.Random(seed)
    parts = urllib.parse.urlsplit(args.url)
    reader = writer = None
    while budget[0] > 0 and time.monotonic() < deadline:
        budget[0] -= 1
        places = [dice.randrange(len(texts)) for _ in range(args.per_request)]
        chosen = [texts[at] for at in places]
        body = json.dumps({"inputs": chosen[0] if args.per_request == 1 else [[text] for text in chosen]}).encode()
        start = time.perf_counter()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(
                b"POST /predict HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % (parts.netloc.encode(), len(body)) + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            fields = head.lower().split(b"\r\n")
            status = int(head.split(b" ", 2)[1])
            length = next(int(it.split(b":")[1]) for it in fields if it.startswith(b"content-length:"))
            content = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError, StopIteration):
            # A server that has no room for a connection may close it with its answer still on the way.
            tally.broken += 1
            writer = None
            await asyncio.sleep(0.05)
            continue
        tally.codes[status] += 1
        if status == 200:
            tally.times.append(time.perf_counter() - start)
            tally.texts += len(places)
            answer = json.loads(content)
            answers = [answer] if args.per_request == 1 else answer
            tally.wrong += sum(is_wrong(one, at, known) for one, at in zip(answers, places))
            tally.wrong += len(answers) != len(places)
        elif not args.no_wait:
            wait = next((float(it.split(b":")[1]) for it in fields if it.startswith(b"retry-after:")), 1)
            await asyncio.sleep(wait)
        if b"connection: close" in fields:
            writer.close()
            writer = None
        if args.pause:
            await asyncio.sleep(args.pause)
    if writer:
        writer.close()


def process(args, number, connections, requests, results):
    texts = read(args.texts)
    known = expected(args.expect) if args.expect else None
    tally, budget = Tally(), [requests]
    deadline = time.monotonic() + (args.seconds or 1e9)

    async def run():
        seeds = (number * 100_000 + at for at in range(connections))
        await asyncio.gather(*(connection(args, texts, known, tally, budget, deadline, seed) for seed in seeds))

    asyncio.run(run())
    tally.times = random.Random(0).sample(tally.times, min(len(tally.times), 200_000))
    results.put(tally.__dict__)


def memory(args):
    try:
        if args.pid:
            with open(f"/proc/{args.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
        with urllib.request.urlopen(args.url + "/metrics", timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("promptmix_resident_memory_bytes "):
                    return float(line.split()[1]) / 1e6
    except OSError:
        pass
    return None


def measure(args, connections):
    before = memory(args)
    workers = min(connections, os.cpu_count() or 1)
    share = lambda whole, at: whole // workers + (at < whole % workers)
    results = multiprocessing.Queue()
    start = time.monotonic()
    children = []
    for at in range(workers):
        requests = share(args.requests, at) if args.requests else 1 << 60
        child = multiprocessing.Process(target=process, args=(args, at, share(connections, at), requests, results))
        child.start()
        children.append(child)
    halves, tallies = [], []
    while len(tallies) < workers:
        try:
            tallies.append(results.get(timeout=5))
        except Exception:  # multiprocessing's queue.Empty
            halves.append(memory(args))
    took = time.monotonic() - start
    for child in children:
        child.join()
    recovery = time.monotonic()
    body = json.dumps({"inputs": "a"}).encode()
    while True:
        try:
            request = urllib.request.Request(args.url + "/predict", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=30).read()
            break
        except OSError:
            time.sleep(0.01)
    recovery = time.monotonic() - recovery
    codes = collections.Counter()
    for tally in tallies:
        codes.update(tally["codes"])
    times = sorted(1e3 * it for tally in tallies for it in tally["times"])
    at = lambda share: round(times[min(int(share * len(times)), len(times) - 1)], 2) if times else None
    rounded = lambda it: None if it is None else round(it, 1)
    row = {
        "connections": connections,
        "answers": {str(code): count for code, count in sorted(codes.items())},
        "wrong": sum(tally["wrong"] for tally in tallies),
        "broken": sum(tally["broken"] for tally in tallies),
        "seconds": round(took, 2),
        "texts_per_s": round(sum(tally["texts"] for tally in tallies) / took, 1),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": round(times[-1], 2) if times else None,
        "memory_mb": [rounded(before), rounded(halves[len(halves) // 2] if halves else None), rounded(memory(args))],
        "recovery_s": round(recovery, 3),
    }
    print(json.dumps(row), flush=True)
    return row["wrong"] == 0 and (args.no_wait or row["broken"] == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--texts", required=True)
    parser.add_argument("--expect")
    parser.add_argument("--connections", default="1,8,64")
    parser.add_argument("--requests", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--per-request", type=int, default=1)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--no-wait", action="store_true")
    args = parser.parse_args()
    if not args.requests and not args.seconds:
        args.seconds = 10.0
    parts = urllib.parse.urlsplit(args.url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError as error:
        sys.exit(f"load: no server at {args.url}: {error}")
    fine = [measure(args, int(count)) for count in args.connections.split(",")]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
