"""Language models of recurrent cells in JAX, float64: formats.md and section 3.4 of the paper written
from their text, apart from the engine.

Many cells of one size are evaluated at once: what a node does is data, looked up by number, so that
compiling does not grow with the cells. Arrays of a step are [b, h], of a window [t, b, h]. Weights are a
dict by the names of a weights file (formats.md, section 3).
"""

import jax
import jax.numpy as jnp
import numpy as np

COMBINATIONS = ["add", "elem_mult", "max"]
ACTIVATIONS = ["identity", "tanh", "sigmoid", "relu", "sin"]


def pick(which, options):
    """Of arrays [n, b, h] the one that each of the n numbers names."""
    numbers = jnp.broadcast_to(which[:, None, None], options[0].shape)
    return jax.lax.select_n(numbers.astype(np.int32), *options)


def combine(which, a, b):
    """Of two equal values the first is the larger one and takes the gradient."""
    return pick(which, [a + b, a * b, jnp.where(a >= b, a, b)])


def activate(which, z):
    relu = jnp.where(z > 0, z, 0.0)
    return pick(which, [z, jnp.tanh(z), jax.nn.sigmoid(z), relu, jnp.sin(z)])


def choices(cell):
    """What the JSON of a tree says, as numbers; nothing for an LSTM."""
    if cell.get("kind") == "lstm":
        return {}
    number = lambda operation: [COMBINATIONS.index(operation[0]), ACTIVATIONS.index(operation[1])]
    return {
        "nodes": np.array([number(operation) for operation in cell["nodes"]]),
        "inject": np.array(number(cell["inject"])),
        "indices": np.array(cell["indices"]),
    }


def tree(chosen, x, m, c):
    """h_t and c_t from the leaves' products with x_t and with h_(t-1), [leaves, b, h] each.

    Nodes are numbered level by level; pairs of a level's outputs are the inputs of the next level.
    """
    gives_state, takes_state = chosen["indices"]
    left, right, first, before = x, m, 0, []
    while True:
        numbers = first + np.arange(len(left))
        combination, activation = chosen["nodes"][numbers].T
        before.append(combine(combination, left, right))
        y = activate(activation, before[-1])
        combination, activation = jnp.broadcast_to(chosen["inject"], (len(left), 2)).T
        injected = activate(activation, combine(combination, y, jnp.broadcast_to(c, y.shape)))
        y = jnp.where((numbers == takes_state)[:, None, None], injected, y)
        if len(y) == 1:
            return y[0], jnp.concatenate(before)[gives_state]
        left, right, first = y[::2], y[1::2], first + len(y)


def lstm(x, m, c):
    """Gates in PyTorch's order: input, forget, cell, output."""
    i, f, g, o = x + m
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def layer(chosen, weights, number, first, x):
    """h and c after every step, from the states before the window."""
    named = lambda what: weights[f"layers.{number}.{what}"]

    def step(state, x_t):
        h, c = state
        products = jnp.einsum("lhk,bk->lbh", named("input.weight"), x_t)
        recurrent = jnp.einsum("lhk,bk->lbh", named("hidden.weight"), h)
        if chosen:
            state = tree(chosen, products, recurrent, c)
        else:
            state = lstm(products + named("bias")[:, None], recurrent, c)
        return state, state

    _, states = jax.lax.scan(step, first, x)
    return states


def loss(weights, chosen, firsts, inputs, targets):
    """Sum over the window's steps of the rows' mean cross-entropy; beside it every layer's h and c.

    A target of -1 is none.
    """
    x, states = weights["embedding.weight"][inputs], []
    for number, first in enumerate(firsts, start=1):
        states.append(layer(chosen, weights, number, first, x))
        x = states[-1][0]
    decoder = weights.get("decoder.weight", weights["embedding.weight"])
    logits = x @ decoder.T + weights["decoder.bias"]
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)[..., 0]
    return -jnp.where(targets >= 0, picked, 0.0).sum() / inputs.shape[1], states


def windows(tokens, rows, steps):
    """Inputs and targets [t, b] of each window: rows of floor(T/B) tokens, read side by side. Where a
    row has nothing left to predict, the target is -1 and the input is of no account."""
    length = len(tokens) // rows
    text = tokens[: rows * length].reshape(rows, length).astype(np.int32).T
    for start in range(0, length - 1, steps):
        inputs, targets = np.zeros((steps, rows), np.int32), np.full((steps, rows), -1, np.int32)
        followed = text[start : start + steps + 1]
        inputs[: len(followed) - 1], targets[: len(followed) - 1] = followed[:-1], followed[1:]
        yield inputs, targets


def descend(rate, max_norm, weights, gradients):
    """Gradient descent for each of many cells, a gradient's norm over all parameters limited."""
    squares = sum((g**2).reshape(len(g), -1).sum(axis=1) for g in gradients.values())
    factors = rate * np.minimum(1.0, max_norm / np.sqrt(squares))
    each = lambda a: factors.reshape(-1, *[1] * (a.ndim - 1))
    return {name: w - each(w) * gradients[name] for name, w in weights.items()}


def train(case, arrays):
    """Trains every cell of a case on its text; quantities by name, an entry for each cell."""
    tokens = arrays["tokens"]
    weights = {n: np.asarray(a, np.float64) for n, a in arrays.items() if n != "tokens"}
    each = [choices(cell) for cell in case["cells"]]
    chosen = {key: np.stack([one[key] for one in each]) for key in each[0]}
    zeros = np.zeros((len(each), case["rows"], weights["embedding.weight"].shape[2]))
    states = [(zeros, zeros) for _ in range(case["layers"])]
    compiled = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True)))
    found = {}
    texts = [list(windows(text, case["rows"], case["steps"])) for text in tokens]
    for number, window in enumerate(zip(*texts), start=1):
        inputs, targets = (np.stack(part) for part in zip(*window))
        answer = jax.device_get(compiled(weights, chosen, states, inputs, targets))
        (found[f"loss.{number}"], unrolled), gradients = answer
        found |= {f"gradient.{number}.{name}": a for name, a in gradients.items()}
        for layer_number, (h, c) in enumerate(unrolled, start=1):
            found |= {f"h.{number}.{layer_number}": h, f"c.{number}.{layer_number}": c}
        states = [(h[:, -1], c[:, -1]) for h, c in unrolled]
        weights = descend(case["learning_rate"], case["max_norm"], weights, gradients)
    return found | {f"last.{name}": a for name, a in weights.items()}
