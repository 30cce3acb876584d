"""The server's own failures, in its words: of its status or its log.

Engines change their words from version to version: a row has those of all that were found, of vLLM from v0.2 to
v0.23.0, of SGLang, text-generation-inference and llama.cpp where they are alike.
"""

from watch.table import gpu_memory, gpus, model_files, server_start

ROWS = (*gpus.ROWS, *gpu_memory.ROWS, *model_files.ROWS, *server_start.ROWS)
