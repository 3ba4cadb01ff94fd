# SPDX-License-Identifier: Apache-2.0
"""Sentence embeddings by numpy alone: a BERT encoder whose weights a package carries (safetensors), mean over the tokens, length 1.

No framework: what is needed is six layers of matrix products, and torch would be ten times what all engines weigh together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ci.bench.vectors.engine import EngineError, Vectors

Array = NDArray[np.float32]
BATCH = 64
MOST_TOKENS = 128  # a description is one line; hardly one has as many
_KNOWN = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


class Encoder:
    """The model of one folder: config.json, tokenizer.json and model.safetensors. EngineError where it is of another kind."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text())
        for name, value in _KNOWN.items():
            if config.get(name, value) != value:
                raise EngineError(f"{folder / 'config.json'}: {name} is '{config[name]}', only '{value}' is understood")
        self.heads, self.layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
        self.epsilon = float(config["layer_norm_eps"])
        self.weights: Mapping[str, Array] = {name: np.asarray(each) for name, each in load_file(folder / "model.safetensors").items()}
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MOST_TOKENS)
        self.tokenizer.no_padding()

    def encode(self, texts: Sequence[str], said: Callable[[int], None] = lambda _done: None) -> Vectors:
        """(n, dimension) in float32, in the order of the texts; `said` is told how many are done."""
        tokens = [each.ids for each in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))  # the like together: little padding
        found: list[tuple[int, Array]] = []
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            found += zip(chosen, self._batch([tokens[at] for at in chosen]), strict=True)
            said(len(found))
        return np.stack([vector for _, vector in sorted(found, key=lambda pair: pair[0])])

    def _batch(self, tokens: Sequence[Sequence[int]]) -> Array:
        longest = max(map(len, tokens))
        ids = np.zeros((len(tokens), longest), np.int64)
        mask = np.zeros((len(tokens), longest), np.float32)
        for row, each in enumerate(tokens):
            ids[row, : len(each)], mask[row, : len(each)] = each, 1
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:longest]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        hidden = (1 - mask[:, None, None, :]) * np.float32(-1e9)
        for number in range(self.layers):
            x = self._layer(x, hidden, f"encoder.layer.{number}")
        mean = (x * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)

    def _layer(self, x: Array, hidden: Array, name: str) -> Array:
        """One layer on (texts, tokens, dimension); `hidden` is added to the scores of tokens that are padding."""

        def heads(part: str) -> Array:
            values = self._dense(x, f"{name}.attention.self.{part}")
            return np.asarray(values.reshape(*x.shape[:2], self.heads, -1).transpose(0, 2, 1, 3), np.float32)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2)
        scores = scores / np.float32(math.sqrt(x.shape[2] // self.heads)) + hidden
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        seen = (scores / scores.sum(axis=-1, keepdims=True)) @ heads("value")
        seen = seen.transpose(0, 2, 1, 3).reshape(x.shape)
        x = self._norm(x + self._dense(seen, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = _gelu(self._dense(x, f"{name}.intermediate.dense"))
        return self._norm(x + self._dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _dense(self, x: Array, name: str) -> Array:
        """One product of two tables: many small ones would spend their time in waking the threads of the library."""
        weight = self.weights[f"{name}.weight"]
        flat = x.reshape(-1, x.shape[-1]) @ weight.T + self.weights[f"{name}.bias"]
        return np.asarray(flat.reshape(*x.shape[:-1], len(weight)), np.float32)

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        return np.asarray(centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"], np.float32)


def _gelu(x: Array) -> Array:
    """x times the normal distribution function; erf by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7."""
    z = np.abs(x) * np.float32(1 / math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(x * (1 + np.sign(x) * (1 - series * np.exp(-z * z))) / 2, np.float32)
