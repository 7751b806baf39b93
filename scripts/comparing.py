"""Shared by the comparisons of scripts/teacher and scripts/student: runs all sides in turn, reports sides that could
not run and how busy the machine was with other work, and prints the JSON lines and their table."""
import json
import os
import sys
import time


class Skip(Exception):
    """One side of a measure could not be run, for this reason."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def last_words(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return " | ".join(lines[-3:]) if lines else "no message"


def others_busy(seconds=1.0):
    """Cores that are busy while this script sleeps; None if /proc/stat cannot be read."""
    try:
        read = lambda: [int(x) for x in open("/proc/stat").readline().split()[1:9]]
        before = read()
        time.sleep(seconds)
        spent = [b - a for a, b in zip(before, read())]
        return round((sum(spent) - spent[3] - spent[4]) / max(sum(spent), 1) * os.cpu_count(), 2)
    except OSError:
        return None


def in_turn(runs, repetitions, once, describe, dead):
    """Runs every run once per repetition, every second repetition in the opposite order. `once(run)` returns a result,
    `describe(run, result)` describes it in a few words. A run that failed is added to `dead` ({run: Skip}) and not tried
    again. Returns ({run: [result per repetition, or Skip]}, [cores busy with other work before each repetition])."""
    got, busy = {run: [] for run in runs}, []
    for number in range(repetitions):
        busy.append(others_busy())
        say(f"repetition {number + 1} of {repetitions}; busy with other work: {busy[-1]} cores")
        for run in runs if number % 2 == 0 else runs[::-1]:
            try:
                if run in dead:
                    raise dead[run]
                result = once(run)
                say(f"  {run}: {describe(run, result)}")
            except KeyError as e:
                result = dead[run] = Skip(f"no {e} in its report")
                say(f"*** SKIPPED {run}: {result}")
            except Skip as e:
                if run not in dead:
                    say(f"*** SKIPPED {run}: {e}")
                result = dead[run] = e
            got[run].append(result)
    return got, busy


def report(lines, busy):
    """Prints one JSON line per measure on stdout, and the table on stderr."""
    table = [("measure", "ours", "theirs", "ratio", "spread", "aim", "")]
    for line in lines:
        if any(busy):
            line["busy_cores_before"] = busy
        print(json.dumps(line), flush=True)
        aim = f"{line['aim_is']} {line['aim']}" if line["aim"] is not None else "-"
        if "skipped" in line:
            table.append((line["measure"], "SKIPPED", "", "", "", aim, line["skipped"].splitlines()[0]))
            continue
        low, high = line["spread"]
        verdict = "" if "met" not in line else "met" if line["met"] else "MISSED"
        table.append((line["measure"], str(line["ours"]), str(line["theirs"] or "-"), str(line["ratio"] or "-"),
                      f"{low:g}-{high:g}", aim, f"{verdict} ({line['unit']})".strip()))  # fmt: skip
    widths = [max(len(row[i]) for row in table) for i in range(6)]
    say()
    for row in table:
        say("  ".join(cell.ljust(w) for cell, w in zip(row, [*widths, 0])).rstrip())
    if any(b and b > 0.2 for b in busy):
        say(f"*** the machine was not idle (cores busy with other work before each repetition: {busy})")
