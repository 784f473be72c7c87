"""The program that ``start_llm.py`` runs in its own environment: a model file behind llama.cpp's HTTP server.

Rule: temperature 0 and one seed unless a request says otherwise, so that a test sees the same answer twice.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def parameters(llama: Any, model: str, alias: str, template: str) -> Any:
    """llama.cpp's own parameters, from the arguments and from the environment that ``start_llm.py`` describes."""
    made = llama.CommonParams()
    made.model.path = model
    made.model_alias = {alias}
    made.hostnames = ["127.0.0.1"]
    made.port = int(os.environ.get("LLM_PORT", "18080"))
    made.n_ctx = int(os.environ.get("LLM_CTX", "8192"))
    made.n_batch = 32  # a request that is dropped while its prompt is read is noticed between two batches
    made.n_parallel = int(os.environ.get("LLM_SLOTS", "1"))
    made.cpuparams.n_threads = made.cpuparams_batch.n_threads = int(os.environ.get("LLM_THREADS", "1"))
    made.n_threads_http = 8
    made.use_jinja = True
    made.chat_template = Path(template).read_text(encoding="utf-8")
    made.reasoning_format = llama.common_reasoning_format.COMMON_REASONING_FORMAT_AUTO
    made.endpoint_slots = made.endpoint_metrics = True
    made.warmup = True
    made.verbosity = 1
    made.sampling.temp, made.sampling.seed = 0.0, 1
    made.sse_ping_interval = int(os.environ.get("LLM_PING", "30"))
    if key := os.environ.get("LLM_KEY"):
        made.api_keys = [key]
    if text := os.environ.get("LLM_KWARGS"):
        made.default_template_kwargs = {name: json.dumps(value) for name, value in json.loads(text).items()}
    return made


def main() -> None:
    llama: Any = importlib.import_module("xllamacpp")
    server = llama.Server(parameters(llama, *sys.argv[1:]))
    print(server.listening_address, flush=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(0.5):  # in slices: a signal handler runs only between two of them
        pass
    os._exit(0)  # the library joins its threads only when the answers under way are done


if __name__ == "__main__":
    main()
