"""Language models of recurrent cells in PyTorch, by formats.md; their texts, batches and weights.

Parameters have the names that the engine gives them, so one file starts both. The cells are the paper's
published one and the plain LSTM, unrolled: the products with x_t are one product for a window.
"""

import hashlib
import json
import math
import random

import torch
import torch.nn.functional as F
from torch import nn

STEPS, ROWS = 35, 20
MAX_NORM = 5.0
PUBLISHED = 8  # leaves
LSTM = 4  # gates


def published(x, m, c):
    """h_t and c_t of the published cell, from [b, leaves, h] each and c_(t-1)."""
    s = x + m
    l1, l3 = torch.relu(s[:, 1]), torch.relu(x[:, 3] * m[:, 3])
    l0, l2, l5, l7 = (torch.sigmoid(s[:, i]) for i in (0, 2, 5, 7))
    l4, l6 = torch.tanh(s[:, 4]), torch.tanh(s[:, 6])
    n8, n9 = torch.tanh(l0 * l1), torch.tanh(l2 + l3)
    n10, n11 = torch.tanh(l4 * l5), torch.sigmoid(l6 + l7)
    c = torch.tanh(n8 + c) * n9
    return torch.tanh(c * torch.tanh(n10 + n11)), c


def lstm(x, m, c):
    i, f, g, o = (x + m).unbind(1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class Layer(nn.Module):
    """A recurrent layer; `bias` only for the LSTM, as its file has it."""

    def __init__(self, leaves, hidden):
        super().__init__()
        self.input, self.hidden = nn.Module(), nn.Module()
        self.input.weight = nn.Parameter(torch.empty(leaves, hidden, hidden))
        self.hidden.weight = nn.Parameter(torch.empty(leaves, hidden, hidden))
        self.bias = nn.Parameter(torch.empty(leaves, hidden)) if leaves == LSTM else None
        self.cell = lstm if leaves == LSTM else published

    def forward(self, x, h, c):
        leaves, hidden, _ = self.input.weight.shape
        bias = None if self.bias is None else self.bias.flatten()
        products = F.linear(x, self.input.weight.flatten(0, 1), bias)
        products = products.view(*x.shape[:2], leaves, hidden)
        weight, outputs = self.hidden.weight.flatten(0, 1).t(), []
        for x_t in products.unbind(0):
            h, c = self.cell(x_t, (h @ weight).view(-1, leaves, hidden), c)
            outputs.append(h)
        return torch.stack(outputs), h, c


class LanguageModel(nn.Module):
    """Embedding, layers, decoder; dropout on what layers read and on what the last one gives."""

    def __init__(self, leaves, layers, hidden, vocabulary, dropout=0.0):
        super().__init__()
        self.leaves, self.rate = leaves, dropout
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleDict({str(i + 1): Layer(leaves, hidden) for i in range(layers)})
        self.decoder = nn.Linear(hidden, vocabulary)
        for name, parameter in self.named_parameters():
            nn.init.uniform_(parameter, -0.05, 0.05)
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def zero_state(self, rows):
        zeros = torch.zeros(rows, self.embedding.embedding_dim, dtype=self.decoder.weight.dtype)
        return [(zeros, zeros) for _ in self.layers]

    def forward(self, inputs, targets, state):
        """Sum of the cross-entropy of a window [t, b], and the state after it."""
        drop = lambda x: F.dropout(x, self.rate, self.training) if self.rate else x
        x, after = drop(self.embedding(inputs)), []
        for layer, (h, c) in zip(self.layers.values(), state):
            x, h, c = layer(x, h, c)
            x = drop(x)
            after.append((h.detach(), c.detach()))
        logits = self.decoder(x.flatten(0, 1))
        return F.cross_entropy(logits, targets.flatten(), reduction="sum"), after


class Trainer:
    """Plain gradient descent on the sum over steps of the rows' mean, the gradient's norm limited."""

    def __init__(self, model, learning_rate, run=None):
        self.model, self.run = model, model if run is None else run
        self.optimizer = torch.optim.SGD(model.parameters(), learning_rate)

    def step(self, inputs, targets, state):
        """The loss a word before the update, and the state."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, state = self.run(inputs, targets, state)
        (loss / inputs.shape[1]).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM)
        self.optimizer.step()
        return loss.detach() / targets.numel(), state


def windows(ids, whole):
    """Inputs and targets [t, b]: rows of floor(T/B) tokens; `whole` leaves a shorter last one out."""
    length = len(ids) // ROWS
    text = torch.tensor(ids[: ROWS * length]).view(ROWS, length).t().contiguous()
    n = (length - 1) // STEPS if whole else math.ceil((length - 1) / STEPS)
    for start in range(0, n * STEPS, STEPS):
        end = min(start + STEPS, length - 1)
        yield text[start:end], text[start + 1 : end + 1]


def perplexity(model, ids):
    """Over all windows, the state carried from zero; infinite where it overflows."""
    model.eval()
    total, n, state = 0.0, 0, model.zero_state(ROWS)
    with torch.no_grad():
        for inputs, targets in windows(ids, whole=False):
            loss, state = model(inputs, targets, state)
            total, n = total + loss.item(), n + targets.numel()
    model.train()
    return math.exp(total / n) if total / n < 700 else math.inf


class Text:
    """Lines of words for training, validation and testing, with words beyond a limit as `<unk>`."""

    def __init__(self, parts, most):
        self.parts = parts
        counts = {}
        for word in (word for line in parts["train"] for word in [*line, "<eos>"]):
            counts[word] = counts.get(word, 0) + 1
        ranked = sorted((w for w in counts if w != "<unk>"), key=lambda w: -counts[w])
        kept = {*ranked[: most - 1], "<unk>"}
        limited = lambda word: word if word in kept else "<unk>"
        self.parts = {
            name: [[limited(word) for word in line] for line in lines]
            for name, lines in parts.items()
        }
        first = dict.fromkeys(word for line in self.parts["train"] for word in [*line, "<eos>"])
        self.words = [*first, *({"<unk>"} - set(first))]
        self.number = {word: i for i, word in enumerate(self.words)}

    def ids(self, part):
        lines = self.parts[part]
        return [self.number[word] for line in lines for word in [*line, "<eos>"]]

    def write(self, folder):
        """As the engine reads it."""
        for name, lines in self.parts.items():
            text = "".join(" ".join(line) + "\n" for line in lines)
            (folder / f"{name}.txt").write_text(text)


def made_up(n_words, most):
    """A text of `most` different words, the i-th as frequent as 1 / i, 20 to a line."""
    draw = random.Random(1)
    names = [f"w{i}" for i in range(most - 2)]  # and <eos> and <unk>
    weights = [1 / (i + 1) for i in range(len(names))]

    def lines(n, start):
        words = start + draw.choices(names, weights, k=max(n - len(start), 0))
        return [words[i : i + 20] for i in range(0, len(words), 20)]

    return Text({"train": lines(n_words, names), "valid": lines(4000, []), "test": lines(4000, [])}, most)


def save(model, architecture, text, path):
    """Writes weights with the metadata that `nas-engine train --init` asks for."""
    from safetensors.torch import save_file

    metadata = {
        "architecture": json.dumps(architecture, separators=(",", ":")),
        "seed": "0",
        "split_seed": "0",
        "epochs": "0",
        "validation_perplexity": "0",
        "vocabulary_sha256": hashlib.sha256("\n".join(text.words).encode()).hexdigest(),
    }
    tensors = {name: p.detach().contiguous() for name, p in model.named_parameters()}
    save_file(tensors, str(path), metadata)
