"""llama.cpp as it is, through the low-level calls of llama-cpp-python: logits of all positions,
greedy continuation, tokenization. SPDX-License-Identifier: MIT"""

import ctypes

import numpy as np
from llama_cpp import llama_cpp as lib

_log = []


@lib.llama_log_callback
def _keep_log(_level, text, _user):
    _log.append(text.decode("utf-8", "replace"))


def words():
    """The last lines of the log that say something about a failure."""
    lines = "".join(_log).splitlines()
    return "\n".join(line for line in lines if "error" in line or "fail" in line)


# The callback object stays referenced by this module: without that the process crashes.
lib.llama_log_set(_keep_log, ctypes.c_void_p(0))
lib.llama_backend_init()


class LoadError(Exception):
    pass


class Llama:
    """One loaded GGUF. All arithmetic that the runtime lets us choose is float32: the cache, and no
    flash attention."""

    def __init__(self, path, n_ctx=256, vocab_only=False, threads=1):
        del _log[:]
        p = lib.llama_model_default_params()
        p.n_gpu_layers, p.vocab_only, p.check_tensors = 0, vocab_only, True
        # Repacked weights ("extra buffer types") compute the same with other roundings.
        p.use_extra_bufts = False
        self.model = lib.llama_model_load_from_file(str(path).encode(), p)
        if not self.model:
            raise LoadError(f"llama.cpp refused {path}:\n{words()}")
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.n_vocab = lib.llama_vocab_n_tokens(self.vocab)
        self.n_ctx, self.ctx = n_ctx, None
        if not vocab_only:
            self.ctx = self._context(threads)

    def _context(self, threads):
        c = lib.llama_context_default_params()
        c.n_ctx = c.n_batch = c.n_ubatch = self.n_ctx
        c.n_threads = c.n_threads_batch = threads
        c.flash_attn_type = 0
        c.type_k = c.type_v = 0  # GGML_TYPE_F32
        ctx = lib.llama_init_from_model(self.model, c)
        if not ctx:
            raise LoadError(f"llama.cpp made no context:\n{words()}")
        return ctx

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.ctx:
            lib.llama_free(self.ctx)
        lib.llama_model_free(self.model)

    def _decode(self, ids, first):
        """Feeds ids at positions first...; returns their logits."""
        batch = lib.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for i, token in enumerate(ids):
                batch.token[i], batch.pos[i] = token, first + i
                batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1
            status = lib.llama_decode(self.ctx, batch)
            if status != 0:
                raise RuntimeError(f"llama_decode: {status}")
            rows = [np.ctypeslib.as_array(lib.llama_get_logits_ith(self.ctx, i), (self.n_vocab,))
                    for i in range(len(ids))]
            return np.array(rows, np.float32)
        finally:
            lib.llama_batch_free(batch)

    def logits(self, ids):
        """[len(ids), vocabulary], from one batch and an empty cache."""
        lib.llama_memory_clear(lib.llama_get_memory(self.ctx), True)
        return self._decode(ids, 0)

    def greedy(self, ids, n):
        ids, row = list(ids), self.logits(ids)[-1]
        for _ in range(n):
            ids.append(int(row.argmax()))
            row = self._decode(ids[-1:], len(ids) - 1)[-1]
        return ids

    def tokenize(self, text, parse_special=True, add_special=False):
        raw = text.encode()
        room = (ctypes.c_int32 * (len(raw) + 16))()
        n = lib.llama_tokenize(self.vocab, raw, len(raw), room, len(room), add_special,
                               parse_special)
        if n < 0:
            raise RuntimeError(f"llama_tokenize needs {-n} tokens for {len(raw)} bytes")
        return list(room[:n])

    def detokenize(self, ids):
        pieces, room = b"", ctypes.create_string_buffer(256)
        for token in ids:
            n = lib.llama_token_to_piece(self.vocab, token, room, len(room), 0, False)
            pieces += room.raw[:max(n, 0)]
        return pieces.decode("utf-8", "replace").strip()

    def chat_template(self):
        t = lib.llama_model_chat_template(self.model, None)
        return t.decode() if t else None

    def is_eog(self, token):
        return bool(lib.llama_vocab_is_eog(self.vocab, token))

    def meta(self, key):
        room = ctypes.create_string_buffer(1 << 16)
        n = lib.llama_model_meta_val_str(self.model, key.encode(), room, len(room))
        return None if n < 0 else room.value.decode()


def quantize(source, target, file_type, threads):
    """llama-quantize, by the library call that the tool itself makes."""
    p = lib.llama_model_quantize_default_params()
    p.nthread, p.ftype = threads, file_type
    del _log[:]
    status = lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(p))
    if status != 0:
        raise RuntimeError(f"llama_model_quantize: {status}\n{words()}")
