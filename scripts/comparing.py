"""What the comparisons of scripts/teacher and scripts/student share: what is said of a side that could not be run,
and how busy the machine was with other work."""
import os
import sys
import time


class Skip(Exception):
    """A side of a measure that could not be run, with the reason."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def last_words(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return " | ".join(lines[-3:]) if lines else "no message"


def others_busy(seconds=1.0):
    """Cores that are at work while this script rests; None where /proc does not say."""
    try:
        read = lambda: [int(x) for x in open("/proc/stat").readline().split()[1:9]]
        before = read()
        time.sleep(seconds)
        spent = [b - a for a, b in zip(before, read())]
        return round((sum(spent) - spent[3] - spent[4]) / max(sum(spent), 1) * os.cpu_count(), 2)
    except OSError:
        return None
