"""The engine's side of the comparisons: `nas-engine train` as a command, and tables of results."""

import argparse
import csv
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def parser(description, data="CIFAR-10, binary layout"):
    """The flags that every script takes; no --data where the script has its own."""
    flags = argparse.ArgumentParser(description=description)
    flags.add_argument("--engine", default=ROOT / "target/release/nas-engine", type=pathlib.Path)
    if data:
        flags.add_argument("--data", required=True, type=pathlib.Path, help=data)
    flags.add_argument("--out", type=pathlib.Path, help="folder for the raw numbers as CSV")
    flags.add_argument("--device", default="cpu", help="cpu, or cuda: of both sides")
    return flags


def train(flags, architecture, **options):
    """Runs `nas-engine train`; an option such as log_steps=True is the flag --log-steps."""
    device = options.pop("device", flags.device)
    command = [flags.engine, "train", "--json", "--device", device]
    command += ["--arch", architecture, "--data", flags.data]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        command += [flag] if value is True else [flag, str(value)]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{ended.stdout}\n{ended.stderr}")
    return json.loads(ended.stdout)


def images_for(n_train):
    """The smallest --limit that leaves `n_train` images to train on."""
    return next(n for n in range(n_train, 2 * n_train) if n - n // 10 >= n_train)


def commit():
    """Of the sources, or of the kit that they were packed into."""
    packed = ROOT / "commit"
    if packed.exists():
        return packed.read_text().strip()
    asked = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def print_setting(torch):
    """What the numbers below were measured on, and how."""
    print(f"`python benches/pytorch/{' '.join([sys.argv[0].split('/')[-1], *sys.argv[1:]])}`")
    print(f"at {commit() or 'an unknown commit'}: ", end="")
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, ", end="")
    print(f"{cpu_name()}, {os.cpu_count()} cores, PyTorch {torch.__version__} ", end="")
    print(f"({torch.backends.cpu.get_cpu_capability()})\n")


def spread(values, digits):
    """Median, smallest and largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_table(header, rows):
    """Markdown; numbers to the right."""
    text = [[cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row] for row in rows]
    print("| " + " | ".join(header) + " |")
    print("|" + "|".join("---" if isinstance(cell, str) else "---:" for cell in rows[0]) + "|")
    for row in text:
        print("| " + " | ".join(row) + " |")
    print()


def write_csv(folder, name, header, rows):
    """Raw numbers, if a folder was given."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
