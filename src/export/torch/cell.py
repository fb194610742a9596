"""A language model around a recurrent cell that nas-engine found. `load()` gives it with its weights.

It takes tokens, `int64 [T, B]`, and the states that the call before gave, `float32 [layers, B, H]` each, zeros where
there are none; it gives logits, `float32 [T, B, V]`, and the next states.
"""
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

@CONSTANTS@

COMBINATIONS = {"add": torch.add, "elem_mult": torch.mul, "max": torch.maximum}
ACTIVATIONS = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "sin": torch.sin,
}


class Layer(nn.Module):
    """The cell, step by step."""

    def __init__(self):
        super().__init__()
        self.input = nn.Linear(HIDDEN, LEAVES * HIDDEN, bias=HAS_BIAS)
        self.hidden = nn.Linear(HIDDEN, LEAVES * HIDDEN, bias=False)

    def step(self, x, h, c):
        """The next h and c, from the products of the input."""
        known = {"c": c}
        for leaf, (w, u) in enumerate(zip(x.chunk(LEAVES, dim=1), self.hidden(h).chunk(LEAVES, dim=1))):
            known[f"w{leaf}"], known[f"u{leaf}"] = w, u
        before = []
        for number, (combination, activation, left, right) in enumerate(NODES):
            z = COMBINATIONS[combination](known[left], known[right])
            before.append(z)
            known[f"a{number}"] = ACTIVATIONS[activation](z)
        return known[f"a{OUTPUT}"], before[STATE]

    def forward(self, x, h, c):
        outputs = []
        for products in self.input(x):
            h, c = self.step(products, h, c)
            outputs.append(h)
        return torch.stack(outputs), h, c


class LanguageModel(nn.Module):
    """Embedding, layers by number from 1, and decoder."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleDict({str(number): Layer() for number in range(1, LAYERS + 1)})
        self.decoder = nn.Linear(HIDDEN, VOCABULARY)
        if TIED:
            self.decoder.weight = self.embedding.weight

    def forward(self, tokens, h=None, c=None):
        x = self.embedding(tokens)
        zeros = x.new_zeros(LAYERS, tokens.shape[1], HIDDEN)
        h, c = zeros if h is None else h, zeros if c is None else c
        next_h, next_c = [], []
        for number, layer in enumerate(self.layers.values()):
            x, last_h, last_c = layer(x, h[number], c[number])
            next_h.append(last_h)
            next_c.append(last_c)
        return self.decoder(x), torch.stack(next_h), torch.stack(next_c)


def load():
    """The model with its weights, in evaluation mode."""
    model = LanguageModel()
    model.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    return model.eval()
