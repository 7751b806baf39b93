#!/usr/bin/env python3
"""Compares the teacher engine with llama.cpp's own programs. Each repetition runs every program once, ours and
theirs in turn (every second repetition in the opposite order), so that a machine that slows down slows all of them.
It prints one JSON line per measure on stdout,

  {"measure", "ours", "theirs", "unit", "ratio", "spread", "aim", "met", ...}

ours and theirs: medians. ratio: the median over the repetitions of ours / theirs in one repetition; spread:
the smallest and largest of these. On stderr it prints a table, what was skipped and why, and how busy the machine was
with other work: on a busy machine the ratios mean little.

  single      `generate` (the scheduler) against one request at a time that evaluates its whole prompt
  decode      tokens per second of equal sequences with one shared prompt, against llama-batched-bench
  server      `generate` against llama-server with the same prompts (token ids), lengths and threads. All slots of the
              server hold the shared prompt before timing starts, more requests wait than it has slots, and the fastest
              of several settings is used; our time includes evaluating the shared prompt
  labels_vs_generated, labels_vs_single
              label scores against a free generation of 10 tokens, and against one text at a time
  labels_77   decodes for 77 labels against 6
  memory      maximum number of KV cache cells in use, against what the texts need
  busy        decode beside two busy loops, against none
  sampling    microseconds per token (ours only), per model of --vocab-model: a draw, a draw with min-p, one that is
              constrained to a list, one that the list refuses until the whole vocabulary is masked, the mask alone

needs: a release build of promptmix; scripts/teacher/peers.sh (llama-batched-bench, llama-server); a GGUF, for example
       from scripts/teacher/random_model.py. Python's standard library. About 4 minutes per repetition on 2 cores
       and 5 minutes to choose the server's settings
example: python3 scripts/teacher/compare.py --model target/random-135m.gguf > target/compare.jsonl
         python3 scripts/teacher/compare.py --model target/random-135m.gguf --only decode,server --repeat 3
"""
import argparse
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from comparing import Skip, in_turn, last_words, report, say  # noqa: E402

# Kinds of `promptmix bench`, and the two peers. A suffix after @ is how this script runs the kind.
NEEDS = {
    "single": ["generate", "generate_single"],
    "decode": ["decode", "batched-bench"],
    "server": ["generate", "llama-server"],
    "labels_vs_generated": ["labels", "labels_generated"],
    "labels_vs_single": ["labels", "labels_single"],
    "labels_77": ["labels", "labels_77"],
    "memory": ["generate"],
    "busy": ["decode", "decode@busy"],
    "sampling": ["draw", "draw_min_p", "checked", "refused", "mask"],
}
# The runs of a repetition, in this order: the two sides of a measure are neighbours.
ORDER = ["generate_single", "generate", "llama-server", "batched-bench", "decode", "decode@busy",
         "labels_single", "labels", "labels_generated", "labels_77"]  # fmt: skip
AIMS = {"single": (">=", 6), "decode": (">=", 0.97), "server": (">=", 1.15), "labels_vs_generated": (">=", 1.8),
        "labels_vs_single": (">=", 20), "labels_77": ("==", 1), "memory": ("<=", 1.1), "busy": (">=", 0.4)}  # fmt: skip
SPINS = "import os\np = os.getppid()\nwhile os.getppid() == p:\n    for _ in range(10**6): pass"


# ---- ours --------------------------------------------------------------------------------------------------


def bench(a, kinds, *, model=None, items=None, export=None, new=None):
    """{kind: measure} of one `promptmix bench`, plus its `sampling`."""
    command = [a.promptmix, "bench", "--teacher", model or a.model, "--json", "--only", ",".join(kinds)]
    sizes = dict(shared=a.shared, own=a.own, new=new or a.new, items=items or a.items, threads=a.threads)
    # The program chooses itself how many label questions it scores side by side.
    if not all(kind.startswith("labels") for kind in kinds):
        sizes["slots"] = a.slots
    for name, value in sizes.items():
        command += [f"--{name}", str(value)]
    if export:
        command += ["--export", export]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as e:
        raise Skip(f"{a.promptmix}: {e}\nhint: cargo build --release, or --promptmix PATH") from e
    if done.returncode:
        raise Skip(f"promptmix bench --only {','.join(kinds)}: exit {done.returncode}: {last_words(done.stderr)}")
    if export:
        return {}
    try:
        answer = json.loads(done.stdout)
    except ValueError as e:
        raise Skip(f"promptmix bench --only {','.join(kinds)}: its output is not JSON: {e}") from e
    return {m["kind"]: m for m in answer.get("measures", [])} | {"sampling": answer.get("sampling", {})}


def ours(a, run):
    """The measure of one run. Each kind runs in a process of its own, so that none profits from another's cache."""
    kind, _, busy = run.partition("@")
    # One at a time is 20 times slower; items per second do not depend on their number.
    items = min(a.items, a.single_items) if kind.endswith(("_single", "_77")) else None
    # Labels are quick: with more of them the shared prompt weighs no more than in a real run.
    if kind in ("labels", "labels_generated"):
        items = a.items * 4
    loops = [subprocess.Popen([sys.executable, "-c", SPINS]) for _ in range(2 if busy else 0)]
    try:
        found = bench(a, [kind], items=items)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    if kind not in found:
        raise Skip(f"promptmix bench has no kind `{kind}`")
    return found[kind]


# ---- theirs ------------------------------------------------------------------------------------------------


def batched_bench(a):
    cells = -(-(a.shared + a.slots * a.new) // 256) * 256
    command = [a.batched_bench, "-m", a.model, "-c", cells, "-b", 2048, "-ub", 512, "-npp", a.shared, "-ntg", a.new,
               "-npl", a.slots, "-pps", "-kvu", "-fa", "auto", "-t", a.threads, "-tb", a.threads, "--output-format", "jsonl"]  # fmt: skip
    command = [str(c) for c in command]
    for _ in range(4):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as e:
            raise Skip(f"{a.batched_bench}: {e}\nhint: scripts/teacher/peers.sh builds it") from e
        for line in done.stdout.splitlines():
            if line.startswith("{") and '"speed_tg"' in line:
                row = json.loads(line)
                return {"decode_tokens_per_second": row["speed_tg"], "seconds": row["t_tg"],
                        "prompt_tokens_per_second": row["speed_pp"], "command": " ".join(command[1:])}  # fmt: skip
        # It logs from a separate thread, and sometimes exits successfully before that thread has written.
        if done.returncode:
            break
    raise Skip(f"llama-batched-bench: exit {done.returncode}, no figures: {last_words(done.stderr)}")


class Server:
    """A running llama-server and the requests of one round."""

    def __init__(self, a, prompts, options):
        self.a, self.prompts, self.slots = a, prompts, options["slots"]
        self.shared = len(os.path.commonprefix(prompts))
        longest = max(map(len, prompts)) + a.new + 8
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.connections = min(len(prompts), 2 * self.slots)
        command = [a.server, "-m", a.model, "--host", "127.0.0.1", "--port", self.port, "-np", self.slots,
                   "-c", self.slots * -(-longest // 256) * 256, "-b", 2048, "-ub", 512, "-fa", "auto", "-cb", "-t", a.threads,
                   "-tb", a.threads, "--threads-http", self.connections + 2, "--no-ui", "--log-disable", *options["flags"]]  # fmt: skip
        command = [str(c) for c in command]
        self.command = " ".join(command[1:])
        self.log = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        except OSError as e:
            raise Skip(f"{a.server}: {e}\nhint: scripts/teacher/peers.sh builds it") from e
        self.rounds = 0
        try:
            self.wait()
            # One request with the shared prompt, then one round that loads it into every slot.
            self.ask(self.connect(), prompts[0][: self.shared], 1)
            self.first = self.round()
        except BaseException:
            self.stop()
            raise

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def wait(self):
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            try:
                link = self.connect()
                link.request("GET", "/health")
                if link.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.log.seek(0)
        raise Skip(f"llama-server did not start: {self.command}: {last_words(self.log.read())}")

    def ask(self, link, tokens, new):
        body = {"prompt": tokens, "n_predict": new, "temperature": 1.0, "cache_prompt": True, "ignore_eos": True,
                "stream": False, "samplers": self.a.samplers.split(","), "response_fields": ["tokens_predicted", "timings"]}  # fmt: skip
        link.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
        answer = link.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Skip(f"llama-server: {answer.status}: {text[:300]!r}")
        answer = json.loads(text)
        if answer["tokens_predicted"] != new:
            raise Skip(f"llama-server wrote {answer['tokens_predicted']} tokens, asked for {new}")
        return answer["timings"]["prompt_n"]

    def round(self):
        """Sends all prompts once. Their own parts are shuffled each time, so that none repeats."""
        self.rounds += 1
        own = [token for prompt in self.prompts for token in prompt[self.shared :]]
        random.Random(self.rounds).shuffle(own)
        todo, at = [], 0
        for prompt in self.prompts:
            length = len(prompt) - self.shared
            todo.append(prompt[: self.shared] + own[at : at + length])
            at += length
        evaluated, faults, lock = [], [], threading.Lock()

        def work(link):
            while True:
                with lock:
                    if not todo or faults:
                        return
                    prompt = todo.pop()
                try:
                    evaluated.append(self.ask(link, prompt, self.a.new))
                except Exception as e:  # a thread's own exception would be lost
                    faults.append(e)

        links = [self.connect() for _ in range(self.connections)]
        threads = [threading.Thread(target=work, args=(link,)) for link in links]
        start = time.monotonic()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        seconds = time.monotonic() - start
        for link in links:
            link.close()
        if faults:
            raise faults[0] if isinstance(faults[0], Skip) else Skip(f"llama-server: {faults[0]!r}")
        return {"items_per_second": len(self.prompts) / seconds, "seconds": seconds, "prompt_tokens": sum(evaluated)}

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def fastest_server(a):
    """Tries several settings, one round each with warm slots, and starts the server with the fastest."""
    folder = tempfile.mkdtemp(prefix="promptmix-compare-")
    path = os.path.join(folder, "workload.jsonl")
    try:
        bench(a, ["generate"], export=path)
        if not os.path.exists(path):
            raise Skip("promptmix bench --export wrote no file")
        prompts = [json.loads(line)["tokens"] for line in open(path) if line.strip()]
    finally:
        if os.path.exists(path):
            os.remove(path)
        os.rmdir(folder)
    if len(prompts) < 2 or len(os.path.commonprefix(prompts)) < 1:
        raise Skip("the exported prompts have no common prefix")
    if a.server_flags is not None:
        tries = [{"slots": a.server_slots or a.slots, "flags": a.server_flags.split()}]
    else:
        slots = sorted({a.slots, 16, 8}, reverse=True)
        tries = [{"slots": n, "flags": [kv, "--no-cache-idle-slots"]} for n in slots for kv in ("-no-kvu", "-kvu")]
    results = []

    def attempt(options):
        try:
            server = Server(a, prompts, options)
        except Skip as e:
            say(f"  llama-server {options}: {e}")
            return
        try:
            rate = server.round()["items_per_second"]
            say(f"  llama-server -np {options['slots']} {' '.join(options['flags'])}: {rate:.2f} items/s "
                f"(first round, slots cold: {server.first['items_per_second']:.2f})")  # fmt: skip
            results.append((rate, options))
        except Skip as e:
            say(f"  llama-server {options}: {e}")
        finally:
            server.stop()

    if len(tries) > 1:
        say("choosing the settings of llama-server")
        for options in tries:
            attempt(options)
        if not results:
            raise Skip("llama-server failed with all settings")
        best = max(results, key=lambda r: r[0])[1]
        # The best again with options that might help: idle slots cached, chunks reused, any slot used.
        for flags in (best["flags"][:1], [*best["flags"], "--cache-reuse", "16"], [*best["flags"], "-sps", "0.0"]):
            attempt({"slots": best["slots"], "flags": flags})
        tries = [max(results, key=lambda r: r[0])[1]]
    server = Server(a, prompts, tries[0])
    server.tried = [{"slots": o["slots"], "flags": " ".join(o["flags"]), "items_per_second": round(r, 3)} for r, o in results]
    return server


# ---- the run -----------------------------------------------------------------------------------------------


def median(values):
    return statistics.median(values)


def figure(run, result):
    """The figure by which a run is compared."""
    if run.startswith("decode") or run == "batched-bench":
        return result["decode_tokens_per_second"]
    return result["items_per_second"]


def lines(a, chosen, got, samples, server):
    """Yields one dict per measure; `got` is {run: [result per repetition or Skip]}."""
    for name in chosen:
        line = {"measure": name}
        if name == "sampling":
            for model, kind, values in samples:
                row = {"measure": f"{kind}@{os.path.basename(model)}", "unit": "microseconds a token", "aim": None}
                if isinstance(values, Skip):
                    yield row | {"skipped": str(values)}
                else:
                    yield row | {"ours": round(median(values), 2), "theirs": None, "ratio": None,
                                 "spread": [round(min(values), 2), round(max(values), 2)]}  # fmt: skip
            continue
        sign, aim = AIMS[name]
        line |= {"aim": aim, "aim_is": sign}
        faults = [f"{run}: {r}" for run in NEEDS[name] for r in got[run] if isinstance(r, Skip)]
        if faults:
            good = {run: [figure(run, r) for r in got[run] if not isinstance(r, Skip)] for run in NEEDS[name]}
            yield line | {"skipped": faults[0], "measured": {run: round(median(v), 3) for run, v in good.items() if v}}
            continue
        left, right = NEEDS[name][0], NEEDS[name][-1]
        try:
            if name == "memory":
                pairs = [(r["cells_peak"], r["cells_ideal"]) for r in got[left]]
                line["unit"] = "cells: peak, ideal"
                line["peak_memory_bytes"] = max(r.get("peak_memory_bytes", 0) for r in got[left])
            elif name == "labels_77":
                pairs = [(r["decodes"] / r["items"], l["decodes"] / l["items"]) for l, r in zip(got[left], got[right])]
                line["unit"] = "decodes a question: 77 labels, 6 labels"
                line["items_per_second"] = [round(median([r["items_per_second"] for r in got[run]]), 3) for run in (right, left)]
            elif name == "busy":
                pairs = [(figure(right, r), figure(left, l)) for l, r in zip(got[left], got[right])]
                line["unit"] = "tokens/s: beside two busy loops, without"
            else:
                pairs = [(figure(left, l), figure(right, r)) for l, r in zip(got[left], got[right])]
                line["unit"] = "tokens/s" if left == "decode" else "items/s"
            ratios = [x / y for x, y in pairs]
        except (KeyError, ZeroDivisionError) as e:
            yield line | {"skipped": f"promptmix bench gave no usable {e}"}
            continue
        ratio = median(ratios)
        met = ratio >= aim if sign == ">=" else ratio <= aim if sign == "<=" else ratio == aim
        line |= {"ours": round(median([x for x, _ in pairs]), 3), "theirs": round(median([y for _, y in pairs]), 3),
                 "ratio": round(ratio, 3), "spread": [round(min(ratios), 3), round(max(ratios), 3)],
                 "met": met, "repetitions": len(ratios)}  # fmt: skip
        if name == "decode":
            line["peer"] = got[right][0]["command"].replace(a.model, os.path.basename(a.model))
        if name == "server" and server:
            line["peer"] = server.command.replace(a.model, os.path.basename(a.model))
            line["samplers"] = a.samplers
            line["prompt_tokens"] = [round(median([r.get("prompt_tokens", 0) for r in got[run]])) for run in (left, right)]
            line["first_round_items_per_second"] = round(server.first["items_per_second"], 3)
            line["tried"] = server.tried
        yield line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the GGUF that both sides run")
    parser.add_argument("--promptmix", default="target/release/promptmix")
    parser.add_argument("--server", default="target/peers/llama-server", help="llama-server")
    parser.add_argument("--batched-bench", default="target/peers/llama-batched-bench", help="llama-batched-bench")
    parser.add_argument("--vocab-model", action="append", help="a GGUF for `sampling`, repeatable (default: --model)")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, 3 or more (default 5)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    parser.add_argument("--slots", type=int, default=16, help="sequences at once (default 16)")
    parser.add_argument("--items", type=int, default=64, help="texts a run (default 64)")
    parser.add_argument("--single-items", type=int, default=16, help="texts of the kinds that run one at a time (default 16)")
    parser.add_argument("--shared", type=int, default=600, help="tokens of the shared prompt (default 600)")
    parser.add_argument("--own", type=int, default=20, help="further tokens of each prompt (default 20)")
    parser.add_argument("--new", type=int, default=40, help="tokens of each reply (default 40)")
    parser.add_argument("--samplers", default="top_k,temperature",
                        help="sampler chain of llama-server (default top_k,temperature: its cheapest, top_k keeps 40)")  # fmt: skip
    parser.add_argument("--server-flags", help="flags for llama-server instead of the fastest found, such as '-no-kvu'")
    parser.add_argument("--server-slots", type=int, help="slots of llama-server with --server-flags (default: --slots)")
    parser.add_argument("--only", help=f"measures, comma-separated, of: {', '.join(NEEDS)}")
    a = parser.parse_args()
    chosen = a.only.split(",") if a.only else list(NEEDS)
    unknown = [name for name in chosen if name not in NEEDS]
    if unknown:
        parser.error(f"--only: no measure `{unknown[0]}`; there are {', '.join(NEEDS)}")
    if a.repeat < 3:
        say(f"--repeat {a.repeat}: the spread of fewer than 3 repetitions means nothing")
    if not os.path.isfile(a.model):
        parser.error(f"--model {a.model}: no such file (scripts/teacher/random_model.py writes one)")

    runs = [run for run in ORDER if any(run in NEEDS[name] for name in chosen)]
    server, dead, samples = None, {}, []
    try:
        if "llama-server" in runs:
            try:
                server = fastest_server(a)
            except Skip as e:
                dead["llama-server"] = e
                say(f"*** SKIPPED llama-server: {e}")
        peers = {"batched-bench": lambda: batched_bench(a), "llama-server": lambda: server.round()}
        once = lambda run: peers[run]() if run in peers else ours(a, run)
        got, busy = in_turn(runs, a.repeat, once, lambda run, result: f"{figure(run, result):.2f} /s", dead)
    finally:
        if server:
            server.stop()
    if "sampling" in chosen:
        for model in a.vocab_model or [a.model]:
            try:
                costs = [bench(a, ["decode"], model=model, new=2)["sampling"] for _ in range(a.repeat)]
            except Skip as e:
                costs = []
                say(f"*** SKIPPED sampling on {model}: {e}")
            for kind in NEEDS["sampling"]:
                try:
                    values = [found[kind] for found in costs] or Skip("it was not measured")
                except KeyError:
                    values = Skip(f"promptmix bench did not report `{kind}`")
                if isinstance(values, Skip):
                    say(f"*** SKIPPED {kind} on {model}: {values}")
                samples.append((model, kind, values))

    report(lines(a, chosen, got, samples, server), busy)


if __name__ == "__main__":
    main()
