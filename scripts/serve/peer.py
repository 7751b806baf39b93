#!/usr/bin/env python3
"""The server to compare `promptmix serve` with: FastAPI on uvicorn, onnxruntime in its threads, TEI's `POST /predict`.

  peer.py MODEL [--port 8081] [--threads N] [--batch]     MODEL: a folder of `promptmix export --to onnx`, with tokenizer.json
  peer.py MODEL --in-process TEXTS                        onnxruntime alone: texts per second in sorted batches of 64

Without --batch each request is a call of its own, as most such servers are written; with it, a task gathers what waits
(at most 64 texts) into one padded call.

needs: fastapi, uvicorn[standard], onnxruntime, tokenizers (pip)
example: promptmix export runs/first --to exported && peer.py exported --batch & load.py --url http://127.0.0.1:8081 …
"""
import argparse
import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Model:
    def __init__(self, folder, threads):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        self.labels = [config["id2label"][str(at)] for at in range(len(config["id2label"]))]
        self.temperature = float(config.get("temperature", 1.0))
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        found = [name for name in os.listdir(folder) if name.endswith(".onnx")]
        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, found[0]), options, providers=["CPUExecutionProvider"]
        )
        self.names = [it.name for it in self.session.get_inputs()]

    def probabilities(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        width = max(len(it.ids) for it in encoded)
        ids = np.zeros((len(texts), width), np.int64)
        mask = np.zeros((len(texts), width), np.int64)
        for at, it in enumerate(encoded):
            ids[at, : len(it.ids)] = it.ids
            mask[at, : len(it.ids)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        logits = self.session.run(None, {name: feed[name] for name in self.names})[0] / self.temperature
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    def answer(self, shares):
        rows = [{"label": label, "score": float(share)} for label, share in zip(self.labels, shares)]
        return sorted(rows, key=lambda it: -it["score"])


def application(model, gathers):
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Predict(BaseModel):
        inputs: str | list[list[str]]

    app = FastAPI()
    # One call at a time: onnxruntime has the cores.
    pool = ThreadPoolExecutor(1)
    waiting = asyncio.Queue()

    async def gather():
        loop = asyncio.get_running_loop()
        while True:
            batch = [await waiting.get()]
            while len(batch) < 64 and not waiting.empty():
                batch.append(waiting.get_nowait())
            shares = await loop.run_in_executor(pool, model.probabilities, [text for text, _ in batch])
            for (_, answer), row in zip(batch, shares):
                answer.set_result(row)

    @app.on_event("startup")
    async def start():
        if gathers:
            app.state.task = asyncio.create_task(gather())

    @app.post("/predict")
    async def predict(request: Predict):
        loop = asyncio.get_running_loop()
        single = isinstance(request.inputs, str)
        texts = [request.inputs] if single else [it[0] for it in request.inputs]
        if gathers:
            answers = [loop.create_future() for _ in texts]
            for pair in zip(texts, answers):
                waiting.put_nowait(pair)
            shares = await asyncio.gather(*answers)
        else:
            shares = await loop.run_in_executor(pool, model.probabilities, texts)
        rows = [model.answer(row) for row in shares]
        return rows[0] if single else rows

    return app


def in_process(model, path):
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if line.strip()]
    texts = [json.loads(line)["text"] if line.startswith("{") else line for line in lines]
    texts.sort(key=len)
    model.probabilities(texts[-64:])
    start = time.perf_counter()
    for at in range(0, len(texts), 64):
        model.probabilities(texts[at : at + 64])
    print(json.dumps({"texts_per_s": round(len(texts) / (time.perf_counter() - start), 1)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch", action="store_true")
    parser.add_argument("--in-process", metavar="TEXTS")
    args = parser.parse_args()
    model = Model(args.model, args.threads)
    if args.in_process:
        return in_process(model, args.in_process)
    import uvicorn

    print(f"http://127.0.0.1:{args.port}, process {os.getpid()}", flush=True)
    uvicorn.run(application(model, args.batch), port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
