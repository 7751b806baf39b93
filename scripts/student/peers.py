#!/usr/bin/env python3
"""The other side of the comparison with the student: PyTorch with transformers, and onnxruntime. compare.py runs each
of these in its own process, so that memory and threads are separate:

  peers.py NAME REQUEST     REQUEST is JSON; the result is one line of JSON on stdout

  train      optimiser steps: transformers' classifier in train(), AdamW(fused=True) with weight decay on matrices
             only, clip_grad_norm_, the linear schedule. Texts are tokenised, batched and padded before measuring
             starts; a batch without padding is passed without a mask. `sample` takes that many batches of the epoch,
             evenly by length
  students   complete trainings in sequence, from tokenising to the last step; the weights are read once
  export     exports a classifier to ONNX in several ways and in 8 bits (quantize_dynamic), and finds the fastest f32 file
  classify   onnxruntime on batches of texts sorted by length; tokenised and padded before measuring starts

needs: torch, transformers; for the last two onnx, onnxruntime, onnxscript (pip)
example: see compare.py
"""
import contextlib
import copy
import json
import os
import random
import sys
import time

WARM_UP = 3  # steps before measuring starts, as in `promptmix bench`


def peak_memory():
    with contextlib.suppress(OSError):
        for line in open("/proc/self/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def rows_of(path):
    return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]


def ids_of(model, texts, max_length):
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tok.no_padding()
    tok.enable_truncation(max_length)
    return [e.ids for e in tok.encode_batch(texts)]


# ---- PyTorch -------------------------------------------------------------------------------------------------


def grouped(lengths, batch, dice):
    """Batches of one epoch as transformers' LengthGroupedSampler makes them: sorted within 50 batches."""
    order = list(range(len(lengths)))
    dice.shuffle(order)
    big = min(50 * batch, max(len(order) // 4 // batch * batch, batch))
    order = [at for i in range(0, len(order), big) for at in sorted(order[i : i + big], key=lambda at: -lengths[at])]
    return [order[i : i + batch] for i in range(0, len(order), batch)]


def shuffled(lengths, batch, dice):
    order = list(range(len(lengths)))
    dice.shuffle(order)
    return [order[i : i + batch] for i in range(0, len(order), batch)]


def padded(torch, ids, labels, to=None):
    """One batch for the model; without a mask if nothing is padded."""
    longest = to or max(map(len, ids))
    block = torch.zeros(len(ids), longest, dtype=torch.long)
    mask = torch.zeros_like(block)
    for row, tokens in enumerate(ids):
        block[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    out = {"input_ids": block, "labels": torch.tensor(labels)}
    if not bool(mask.all()):
        out["attention_mask"] = mask
    return out


def network(torch, q, classes):
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(q["threads"])
    torch.manual_seed(q.get("seed", 0))
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        q["model"], num_labels=classes, ignore_mismatched_sizes=True, dtype=torch.float32).train()  # fmt: skip


def steps(torch, model, batches, total=None):
    """Trains on `batches` of `total` planned ones; returns the time at the end of each step."""
    plain = lambda name: name.endswith(".bias") or "LayerNorm" in name or "layer_norm" in name
    groups = [
        {"params": [p for n, p in model.named_parameters() if not plain(n)], "weight_decay": 0.01},
        {"params": [p for n, p in model.named_parameters() if plain(n)], "weight_decay": 0.0},
    ]
    total = total or len(batches)
    warm = int(0.1 * total)
    optimizer = torch.optim.AdamW(groups, lr=4e-5, fused=True)
    rate = lambda s: (s + 1) / max(1, warm) if s < warm else max(0, (total - s) / max(1, total - warm))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    parameters = list(model.parameters())
    ends = []
    for batch in batches:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        ends.append(time.perf_counter())
    return ends


def train(q):
    """q: model, texts (file), rows, batch, max_length, padding (dynamic | max), grouped, sample, epochs, threads."""
    import torch

    rows = rows_of(q["texts"])[: q["rows"]]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    ids = ids_of(q["model"], [row["text"] for row in rows], q["max_length"])
    targets = [labels.index(row["label"]) for row in rows]
    from transformers import AutoModelForSequenceClassification  # noqa: F401, so that it is counted as library

    libraries = peak_memory()
    model = network(torch, q, len(labels))
    lengths, dice = list(map(len, ids)), random.Random(q.get("seed", 0))
    deal = grouped if q["grouped"] else shuffled
    batches = [batch for _ in range(q["epochs"]) for batch in deal(lengths, q["batch"], dice)]
    total = len(batches)
    if q["sample"]:
        longest = lambda batch: max(lengths[at] for at in batch)
        ordered = sorted((b for b in batches if len(b) == q["batch"]), key=longest)
        pick = lambda n: [ordered[int((i + 0.5) * len(ordered) / n)] for i in range(n)]
        warm, batches = pick(WARM_UP), pick(q["sample"])
        dice.shuffle(batches)
        batches = warm + batches
    to = q["max_length"] if q["padding"] == "max" else None
    batches = [padded(torch, [ids[at] for at in b], [targets[at] for at in b], to) for b in batches]
    before = peak_memory()
    ends = steps(torch, model, batches, total)
    times = [b - a for a, b in zip(ends[WARM_UP - 1 :], ends[WARM_UP:])]
    seen = batches[WARM_UP:]
    return {
        "steps": len(times), "seconds": sum(times), "step_ms": 1e3 * sum(times) / len(times),
        "step_ms_median": 1e3 * sorted(times)[len(times) // 2], "total_steps": total,
        "tokens_with_padding": sum(b["input_ids"].numel() for b in seen),
        "peak_memory_bytes": peak_memory(), "peak_before_training": before, "libraries_bytes": libraries,
        "torch": torch.__version__,
    }  # fmt: skip


def students(q):
    """q: model, texts, rows, batch, max_length, epochs, students, threads."""
    import torch

    rows = rows_of(q["texts"])[: q["rows"]]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    targets = [labels.index(row["label"]) for row in rows]
    base = network(torch, q, len(labels))
    # A first step, so that the library's initialisation is not measured.
    few = padded(torch, ids_of(q["model"], [row["text"] for row in rows[:8]], q["max_length"]), targets[:8])
    steps(torch, copy.deepcopy(base), [few])
    began, done = time.perf_counter(), 0
    for seed in range(q["students"]):
        torch.manual_seed(seed)
        model = copy.deepcopy(base)
        ids = ids_of(q["model"], [row["text"] for row in rows], q["max_length"])
        lengths, dice = list(map(len, ids)), random.Random(seed)
        batches = [b for _ in range(q["epochs"]) for b in shuffled(lengths, q["batch"], dice)]
        batches = [padded(torch, [ids[at] for at in b], [targets[at] for at in b]) for b in batches]
        done += len(steps(torch, model, batches))
    seconds = time.perf_counter() - began
    return {"students": q["students"], "seconds": seconds, "steps": done, "peak_memory_bytes": peak_memory()}


# ---- onnxruntime ---------------------------------------------------------------------------------------------


def session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_batches(net, batches):
    answers = []
    for ids, mask in batches:
        answers.append(net.run(None, {"input_ids": ids, "attention_mask": mask})[0].argmax(-1))
    return answers


def batches_of(q):
    import numpy as np

    texts = [row["text"] for row in rows_of(q["texts"])[: q["rows"]]]
    ids = sorted(ids_of(q["model"], texts, q["max_length"]), key=len)
    out = []
    for at in range(0, len(ids), q["batch"]):
        some = ids[at : at + q["batch"]]
        block = np.zeros((len(some), max(map(len, some))), dtype=np.int64)
        mask = np.zeros_like(block)
        for row, tokens in enumerate(some):
            block[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        out.append((block, mask))
    return out, len(ids)


def classify(q):
    """q: onnx, model (for its tokenizer), texts, rows, batch, max_length, threads."""
    import onnxruntime

    net = session(q["onnx"], q["threads"])
    batches, count = batches_of(q)
    run_batches(net, batches[: max(1, len(batches) // 20)])
    began = time.perf_counter()
    run_batches(net, batches)
    seconds = time.perf_counter() - began
    return {"texts": count, "seconds": seconds, "texts_per_second": count / seconds,
            "peak_memory_bytes": peak_memory(), "onnx": os.path.basename(q["onnx"]), "onnxruntime": onnxruntime.__version__}  # fmt: skip


def export(q):
    """q: model, out (folder), and the arguments of `classify`. Returns the files, and each one's texts/s on a few batches."""
    import torch
    import transformers

    torch.set_num_threads(q["threads"])
    transformers.logging.set_verbosity_error()
    os.makedirs(q["out"], exist_ok=True)
    files, faults = {}, {}
    ids = torch.randint(5, 100, (2, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    names = dict(input_names=["input_ids", "attention_mask"], output_names=["logits"])
    axes = {name: {0: "texts", 1: "tokens"} for name in names["input_names"]} | {"logits": {0: "texts"}}
    dims = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}

    class Plain(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, attention_mask):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits

    for attention in ("eager", "sdpa"):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            q["model"], attn_implementation=attention, dtype=torch.float32).eval()  # fmt: skip
        with torch.no_grad():
            wanted = model(input_ids=ids, attention_mask=mask).logits.numpy()
        for exporter in ("dynamo", "traced"):
            name = f"{attention}-{exporter}"
            path = os.path.join(q["out"], name + ".onnx")
            options = dict(dynamo=True, dynamic_shapes=(dims, dims), external_data=False) if exporter == "dynamo" else dict(dynamo=False, dynamic_axes=axes, opset_version=17)  # fmt: skip
            try:
                with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
                    torch.onnx.export(Plain(model), (ids, mask), path, **names, **options)
                got = session(path, q["threads"]).run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
                if abs(got - wanted).max() > 1e-3:
                    raise ValueError(f"its logits are off by {abs(got - wanted).max()}")
                files[name] = path
            except Exception as e:  # an exporter that fails is left out
                faults[name] = f"{type(e).__name__}: {e}".splitlines()[0][:300]
    # onnxruntime's own tool, which fuses attention that the session's optimiser may miss.
    config = json.load(open(os.path.join(q["model"], "config.json")))
    heads, width = config.get("n_heads") or config["num_attention_heads"], config.get("dim") or config["hidden_size"]
    for name in list(files):
        path = os.path.join(q["out"], name + "-fused.onnx")
        try:
            from onnxruntime.transformers import optimizer

            with contextlib.redirect_stdout(sys.stderr):
                better = optimizer.optimize_model(files[name], model_type="bert", num_heads=heads, hidden_size=width, opt_level=0)
                better.save_model_to_file(path)
            got = session(path, q["threads"]).run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
            if abs(got - wanted).max() > 1e-3:
                raise ValueError(f"its logits are off by {abs(got - wanted).max()}")
            files[name + "-fused"] = path
        except Exception as e:
            faults[name + "-fused"] = f"{type(e).__name__}: {e}".splitlines()[0][:300]
    batches, _ = batches_of(q)
    few = batches[:: max(1, len(batches) // q["tries"])]
    count = sum(len(ids) for ids, _ in few)

    def rate(path):
        net, best = session(path, q["threads"]), 0.0
        run_batches(net, few[:1])
        for _ in range(2):
            began = time.perf_counter()
            run_batches(net, few)
            best = max(best, count / (time.perf_counter() - began))
        return round(best, 2)

    rates = {name: rate(path) for name, path in files.items()}
    if not rates:
        raise RuntimeError(f"no exporter worked: {faults}")
    best = max(rates, key=rates.get)
    eight = {}
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for name, kind in (("int8", QuantType.QInt8), ("uint8", QuantType.QUInt8)):
        for source in (f for f in files if not f.endswith("-fused")):  # the tool does not know fused operators
            path = os.path.join(q["out"], f"{source}-{name}.onnx")
            try:
                quantize_dynamic(files[source], path, weight_type=kind)
                eight[path] = rate(path)
            except Exception as e:
                faults[f"{source}-{name}"] = f"{type(e).__name__}: {e}".splitlines()[0][:300]
    return {"f32": files[best], "f32_rates": rates, "int8": max(eight, key=eight.get) if eight else None,
            "int8_rates": {os.path.basename(k): v for k, v in eight.items()}, "faults": faults}  # fmt: skip


if __name__ == "__main__":
    work = {"train": train, "students": students, "classify": classify, "export": export}
    if len(sys.argv) != 3 or sys.argv[1] not in work:
        sys.exit(__doc__)
    print(json.dumps(work[sys.argv[1]](json.loads(sys.argv[2]))))
