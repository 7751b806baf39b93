#!/usr/bin/env python3
"""Compares a teacher behind an address with the same teacher in promptmix itself, with a real llama-server.

    scripts/teacher/peers.sh                             # builds llama-server
    scripts/teacher/address.py TASK --teacher GGUF --student FOLDER --out FOLDER [--kills 20]

TASK names unlabelled texts. `promptmix label` labels 500 of them three times: by the engine in promptmix, by
llama-server through a proxy that notes each request, and by llama-server alone. Prints

- how far the probabilities of the labels are apart, and how many labels are the same;
- requests a second through promptmix, and when the same requests are sent again by plain HTTP clients, as many at once
  as give the best rate (the server is started again each time, so that its cache is empty);
- with --kills: the same once more while the server is killed that often; nothing may be lost or asked twice.

Needs Python 3.9, nothing else, and an idle machine.
"""

import argparse
import http.client
import json
import os
import queue
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, PROXY = 8971, 8972


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--program", default="target/release/promptmix")
    parser.add_argument("--server", default="target/peers/llama-server")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--kills", type=int, default=0)
    return parser.parse_args()


class Server:
    """A llama-server with an empty cache."""

    def __init__(self, args):
        command = [args.server, "-m", args.teacher, "--port", str(PORT), "-np", str(args.slots), "-c", "16384", "-kvu"]
        command += ["-t", str(args.threads), "--no-webui"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health")
                return
            except OSError:
                time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def proxy(notes):
    """Passes requests on and notes the bodies and the times of those for probabilities or texts."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0))) or None
            # llama-server closes connections that are idle.
            connection = http.client.HTTPConnection("127.0.0.1", PORT)
            connection.request(self.command, self.path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            if self.path == "/completion":
                notes.append(body)
            self.send_response(response.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = pass_on

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", PROXY), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def promptmix(args, *words):
    begun = time.time()
    subprocess.run([args.program, *words, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return time.time() - begun


def start(args, name, address=None):
    """A run folder in which `label` is next."""
    settings = ["relabel.scoring=branch", "relabel.calibration=none", "augment.per_class=1", "teacher.check=0"]
    settings += [f"label.budget={args.texts}", f"teacher.threads={args.threads}"]
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--teacher", args.teacher, "--student", args.student, *at(address)]
    promptmix(args, "generate", args.task, "--out", str(args.out / name), *words)
    return str(args.out / name)


def at(address):
    return ["--allow-address", address] if address else []


def labels(run):
    rows = [json.loads(line) for line in open(f"{run}/labelled.jsonl")]
    return {row["text"]: dict(row["probabilities"]) for row in rows}


def again(bodies, connections):
    """Seconds for the same requests from plain clients."""
    waiting = queue.Queue()
    for body in bodies:
        waiting.put(body)

    def work():
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        while True:
            try:
                body = waiting.get_nowait()
            except queue.Empty:
                return
            connection.request("POST", "/completion", body, {"content-type": "application/json"})
            connection.getresponse().read()

    begun = time.time()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.time() - begun


def compare(here, there):
    assert here.keys() == there.keys(), "other texts were picked"
    far = max(abs(p - there[text].get(label, 0.0)) for text, of in here.items() for label, p in of.items())
    same = sum(max(of, key=of.get) == max(there[text], key=there[text].get) for text, of in here.items())
    print(f"{len(here)} texts: probabilities at most {100 * far:.2f} points apart, {100 * same / len(here):.1f} % same labels")


def kills(args, address, calm):
    server = Server(args)
    run = start(args, "killed", address)
    command = [args.program, "label", run, "--quiet", *at(address)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    done = 0
    while running.poll() is None:
        time.sleep(4)
        if done < args.kills and running.poll() is None:
            server.__exit__()
            done += 1
            time.sleep(0.5)
            server = Server(args)
    server.__exit__()
    assert running.returncode == 0, "the run failed"
    entries = [json.loads(line) for line in open(f"{run}/ledger.jsonl")]
    keys = [entry["key"] for entry in entries if entry["kind"] == "scores"]
    assert len(keys) == len(set(keys)), "an answer is there twice"
    skipped = sum(entry["kind"] == "skipped" for entry in entries)
    print(f"killed {done} times: {skipped} texts left out; ", end="")
    compare(calm, labels(run))


def main():
    args = arguments()
    args.out.mkdir(parents=True)
    address, noting = f"http://127.0.0.1:{PORT}", f"http://127.0.0.1:{PROXY}"
    here = start(args, "here")
    print(f"here:            {promptmix(args, 'label', here):6.1f} s for the whole command")
    notes = []
    proxied = proxy(notes)
    with Server(args):
        there = start(args, "noted", noting)
        notes.clear()
        promptmix(args, "label", there, *at(noting))
    proxied.shutdown()
    bodies = list(notes)
    compare(labels(here), labels(there))
    print(f"{len(bodies)} requests, {len(bodies) / args.texts:.2f} a text")
    with Server(args):
        there = start(args, "there", address)
    with Server(args):
        print(f"through the address: {promptmix(args, 'label', there, *at(address)):6.1f} s for the whole command")
    for connections in (args.slots, args.slots + 2, 2 * args.slots):
        with Server(args):
            seconds = again(bodies, connections)
        print(f"the same requests from {connections:2} plain clients: {seconds:6.1f} s")
    if args.kills:
        kills(args, address, labels(here))


main()
