#!/usr/bin/env python3
"""Asks a `promptmix serve` for the classes of texts. Needs nothing but Python 3.9.

  client.py [--url http://127.0.0.1:8080] [--model NAME] [--key-file FILE] TEXT...
  client.py < texts.txt                     one text a line; prints label, probability and text

As a module:

  from client import Client
  with Client("http://127.0.0.1:8080") as client:
      for label, probability in client.classify(["I forgot my password", "the screen is dark"]):
          ...
"""
import argparse
import http.client
import itertools
import json
import sys
import time
import urllib.parse


class Refused(Exception):
    """The server answered with another status than 200."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status


class Client:
    """One connection, kept open. Not for several threads at once; give each its own."""

    BATCH = 256  # texts of a request

    def __init__(self, url="http://127.0.0.1:8080", model=None, key=None, timeout=60, patience=120):
        """`patience`: seconds to try again for while the server is loading or has no room (429, 503)."""
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(parts.hostname, parts.port, timeout=timeout)
        self.path = parts.path.rstrip("/") + "/predict"
        if model:
            self.path += "?model=" + urllib.parse.quote(model)
        self.headers = {"Content-Type": "application/json"}
        if key:
            self.headers["Authorization"] = "Bearer " + key
        self.patience = patience

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def scores(self, texts):
        """Yields for each text a dictionary from label to probability, the most probable label first."""
        texts = iter(texts)
        while batch := list(itertools.islice(texts, self.BATCH)):
            for labels in self._post({"inputs": batch}):
                yield {it["label"]: it["score"] for it in labels}

    def classify(self, texts):
        """Yields for each text the most probable label and its probability."""
        for scores in self.scores(texts):
            yield next(iter(scores.items()))

    def _post(self, body):
        deadline = time.monotonic() + self.patience
        data = json.dumps(body).encode()
        while True:
            try:
                self.connection.request("POST", self.path, data, self.headers)
                answer = self.connection.getresponse()
                content = answer.read()
            except (http.client.HTTPException, ConnectionError):
                # The server has closed a connection that was idle, or is restarting.
                self.connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
                continue
            if answer.status == 200:
                return json.loads(content)
            wait = float(answer.headers.get("Retry-After", 1))
            if answer.status not in (429, 503) or time.monotonic() + wait > deadline:
                try:
                    message = json.loads(content)["error"]
                except (ValueError, KeyError):
                    message = answer.reason
                raise Refused(answer.status, message)
            time.sleep(wait)


def main():
    parser = argparse.ArgumentParser(description="Classify texts with a promptmix server.")
    parser.add_argument("text", nargs="*", help="without any, each line of stdin is one")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", help="without it, the first model of the server answers")
    parser.add_argument("--key-file", help="file whose first line is the key")
    args = parser.parse_args()
    key = None
    if args.key_file:
        with open(args.key_file, encoding="utf-8") as file:
            key = file.readline().strip()
    texts = args.text or (line.rstrip("\n") for line in sys.stdin)
    texts, shown = itertools.tee(texts)
    with Client(args.url, args.model, key) as client:
        for text, (label, probability) in zip(shown, client.classify(texts)):
            print(f"{label}\t{probability:.3f}\t{text}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError) as error:
        sys.exit(f"error: {error}")
