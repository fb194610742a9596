"""A convolutional child in JAX, float64: formats.md section 1 written from its text, apart from the engine.

Arrays are [n, c, h, w]. Weights are a dict by the names of a weights file (formats.md, section 3).
"""

import jax
import jax.numpy as jnp
import numpy as np

EPSILON = 1e-5
LCN_FLOOR = 1e-4


class Invalid(Exception):
    """A pooling window larger than its input."""


def inputs_of(layer):
    return layer["inputs"] or [0]


def unread(layers):
    """Numbers of the layers that no layer reads: what the classifier reads."""
    read = {source for layer in layers for source in inputs_of(layer)}
    return [number for number in range(1, len(layers) + 1) if number not in read]


def concatenate(arrays):
    """Joins in depth; each is zero-padded at the bottom and right to the largest height and width."""
    height = max(a.shape[2] for a in arrays)
    width = max(a.shape[3] for a in arrays)
    pad = lambda a: [(0, 0), (0, 0), (0, height - a.shape[2]), (0, width - a.shape[3])]
    return jnp.concatenate([jnp.pad(a, pad(a)) for a in arrays], axis=1)


def convolve(x, weight, stride):
    padding = [(side // 2, side // 2) for side in weight.shape[2:]]
    return jax.lax.conv_general_dilated(x, weight, stride, padding)


def per_channel(vector):
    return vector[None, :, None, None]


def batch_norm(x, name, weights, running, training):
    """Returns the result and the running statistics that follow; `training` may be traced."""
    n_values = x.shape[0] * x.shape[2] * x.shape[3]
    mean = x.mean(axis=(0, 2, 3))
    variance = ((x - per_channel(mean)) ** 2).mean(axis=(0, 2, 3))
    unbiased = variance * n_values / max(n_values - 1, 1)
    old = {what: running[f"{name}.running_{what}"] for what in ("mean", "var")}
    moved = {
        f"{name}.running_mean": 0.9 * old["mean"] + 0.1 * mean,
        f"{name}.running_var": 0.9 * old["var"] + 0.1 * unbiased,
    }
    mean = jnp.where(training, mean, old["mean"])
    variance = jnp.where(training, variance, old["var"])
    normal = (x - per_channel(mean)) / jnp.sqrt(per_channel(variance) + EPSILON)
    return normal * per_channel(weights[f"{name}.weight"]) + per_channel(weights[f"{name}.bias"]), moved


def windows(x, pool, stride):
    """Every window's values along a new last axis, in row order; no padding, rounded down."""
    if pool[0] > x.shape[2] or pool[1] > x.shape[3]:
        raise Invalid(f"window {pool}, input {x.shape}")
    n_rows = (x.shape[2] - pool[0]) // stride[0] + 1
    n_columns = (x.shape[3] - pool[1]) // stride[1] + 1
    rows = jnp.arange(n_rows)[:, None] * stride[0] + jnp.arange(pool[0])
    columns = jnp.arange(n_columns)[:, None] * stride[1] + jnp.arange(pool[1])
    taken = x[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    return taken.reshape(*taken.shape[:4], pool[0] * pool[1])


def max_pool(x, pool, stride):
    """Returns the result and the smallest distance between a largest value and another one."""
    values = windows(x, pool, stride)
    first_largest = jnp.argmax(values, axis=-1, keepdims=True)
    largest = jnp.take_along_axis(values, first_largest, axis=-1)
    distances = jax.lax.stop_gradient(jnp.where(values < largest, largest - values, jnp.inf))
    return largest[..., 0], distances.min()


def avg_pool(x, pool, stride):
    return windows(x, pool, stride).mean(axis=-1)


def blur(x):
    """9x9 Gaussian of deviation 2; taps outside the image are left out, the rest sum to 1."""
    taps = jnp.exp(-(jnp.arange(-4.0, 5.0) ** 2) / (2 * 2.0**2))
    kernel = (taps[:, None] * taps[None, :])[None, None]
    sums = lambda a: jax.lax.conv_general_dilated(a, kernel, (1, 1), [(4, 4), (4, 4)])
    alone = x.reshape(-1, 1, *x.shape[2:])
    return (sums(alone) / sums(jnp.ones((1, 1, *x.shape[2:])))).reshape(x.shape)


def local_contrast(x):
    v = x - blur(x)
    power = blur(v**2)
    positive = power > 0  # the root has no derivative at 0, where the floor wins anyway
    s = jnp.where(positive, jnp.sqrt(jnp.where(positive, power, 1.0)), 0.0)
    mean = s.mean(axis=(2, 3), keepdims=True)
    return v / jnp.maximum(jnp.maximum(s, mean), LCN_FLOOR)


def apply_layer(number, layer, x, weights, running, training):
    """Returns the result, the running statistics that follow, and the margin (see `forward`)."""
    kind = layer.get("type", "conv")
    if kind == "conv":
        x = convolve(x, weights[f"layers.{number}.conv.weight"], layer.get("stride", [1, 1]))
    if kind in ("conv", "batch_norm"):
        x, moved = batch_norm(x, f"layers.{number}.bn", weights, running, training)
        if kind == "batch_norm":
            return x, moved, jnp.inf
        return jnp.maximum(x, 0.0), moved, jnp.abs(jax.lax.stop_gradient(x)).min()
    if kind == "lcn":
        return local_contrast(x), {}, jnp.inf
    if kind == "avg_pool":
        return avg_pool(x, layer["pool"], layer["stride"]), {}, jnp.inf
    largest, margin = max_pool(x, layer["pool"], layer["stride"])
    return largest, {}, margin


def forward(architecture, weights, running, images, training):
    """Logits [n, classes], the running statistics after the batch, and the margin: how near a value
    came to where a gradient jumps (a ReLU's 0, another value of a pool)."""
    outputs, moved, margins = [images], {}, []
    layers = architecture["layers"]
    for number, layer in enumerate(layers, start=1):
        x = concatenate([outputs[source] for source in inputs_of(layer)])
        y, statistics, margin = apply_layer(number, layer, x, weights, running, training)
        outputs.append(y)
        moved |= statistics
        margins.append(margin)
    features = concatenate([outputs[number] for number in unread(layers)]).mean(axis=(2, 3))
    logits = features @ weights["classifier.weight"].T + weights["classifier.bias"]
    return logits, running | moved, jnp.stack(margins).min()


def cross_entropy(logits, labels):
    """Mean over the batch."""
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -picked.mean()


def loss(architecture, weights, running, images, labels, training):
    """Mean cross-entropy; beside it what `forward` gives."""
    found = forward(architecture, weights, running, images, training)
    return cross_entropy(found[0], labels), found


def nesterov(rates, weights, momentum, gradients):
    """One step of SGD; returns weights and momentum."""
    rate, mu, decay = rates["learning_rate"], rates["momentum"], rates["weight_decay"]
    decayed = {name: gradients[name] + decay * weights[name] for name in weights}
    momentum = {name: mu * momentum[name] + decayed[name] for name in weights}
    return {name: weights[name] - rate * (decayed[name] + mu * momentum[name]) for name in weights}, momentum


def inspect(architecture, n_classes):
    """What `inspect --json` says of an architecture; raises Invalid."""
    sizes, layers = [(3, 32, 32)], []
    for number, layer in enumerate(architecture["layers"], start=1):
        sources = [sizes[source] for source in inputs_of(layer)]
        channels = sum(c for c, _, _ in sources)
        height, width = max(h for _, h, _ in sources), max(w for _, _, w in sources)
        kind, parameters, multiply_adds = layer.get("type", "conv"), 0, 0
        if kind == "conv":
            stride = layer.get("stride", [1, 1])
            output = [layer["filters"], -(-height // stride[0]), -(-width // stride[1])]
            kernel = layer["filter"][0] * layer["filter"][1] * channels * layer["filters"]
            parameters, multiply_adds = kernel + 2 * layer["filters"], kernel * output[1] * output[2]
        elif kind in ("max_pool", "avg_pool"):
            (pool_h, pool_w), (stride_h, stride_w) = layer["pool"], layer["stride"]
            if pool_h > height or pool_w > width:
                raise Invalid(f"layer {number}: window {layer['pool']}, input {height} x {width}")
            output = [channels, (height - pool_h) // stride_h + 1, (width - pool_w) // stride_w + 1]
        else:
            output = [channels, height, width]
            parameters = 2 * channels if kind == "batch_norm" else 0
        sizes.append(tuple(output))
        layers.append(
            {
                "index": number,
                "output": output,
                "input_channels": channels,
                "parameters": parameters,
                "multiply_adds": multiply_adds,
            }
        )
    classifier_inputs = unread(architecture["layers"])
    features = sum(sizes[number][0] for number in classifier_inputs)
    return {
        "layers": layers,
        "classifier_inputs": classifier_inputs,
        "classifier_features": features,
        "parameters": sum(l["parameters"] for l in layers) + (features + 1) * n_classes,
        "multiply_adds": sum(l["multiply_adds"] for l in layers) + features * n_classes,
    }


def view(image, augment, draw):
    """What a network sees of an image of bytes [3, 32, 32]; draw is (dy, dx, flip), or None to evaluate."""
    x = image / 255.0
    x = (x - x.mean()) / max(x.std(), 3072**-0.5)
    if augment == "none":
        draw = None
    if augment == "pad-crop":
        if draw is None:
            return x
        x = np.pad(x, [(0, 0), (4, 4), (4, 4)])
    else:
        x = np.asarray(jax.image.resize(x, (3, 40, 40), "linear", antialias=False))
    dy, dx, flip = draw or (4, 4, False)
    crop = x[:, dy : dy + 32, dx : dx + 32]
    return crop[:, :, ::-1] if flip else crop
