#!/usr/bin/env bash
# A study in Optuna's journal file cannot be gone on with after its last line was left unfinished.
#
# One expects: a journal that takes one JSON line a fact exists for the sake of crashes, so a last line that a
# power cut, a full disk or a kill left without its end is dropped or completed when the study is loaded
# again, and the next trial is written after it.
# What happens: loading works and shows the trial of that line as RUNNING. The first trial after that writes
# its record behind the unfinished line without a newline between them and fails with an AttributeError that
# names an internal field. The next session fails with a JSONDecodeError at its first trial, and from the one
# after that on the study cannot even be loaded: what looked sound is unreadable until somebody edits the file.
# It is enough that the newline of the last line is missing.
# Where it matters: searches of days on shared file systems, for which Optuna's own documentation proposes the
# journal file in place of SQLite; whoever reads or writes such a file from another program should end it
# with a newline first.
# Source: found by trying; optuna/storages/journal/_file.py writes at the end of the file as it is.
# nas-engine drops such a line when it goes on: tests/it/journal.rs cuts a journal at every byte.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'optuna==5.0.0'
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
print("optuna", optuna.__version__)


def study(path, load):
    storage = JournalStorage(JournalFileBackend(path))
    return optuna.load_study(study_name="s", storage=storage) if load else optuna.create_study(
        study_name="s", storage=storage
    )


def session(path):
    """The states that a session sees which loads the study and adds two trials, and how it ends."""
    states = None
    try:
        loaded = study(path, load=True)
        states = [trial.state.name for trial in loaded.trials]
        loaded.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    except Exception as error:
        return states, type(error).__name__
    return states, "went on"


for missing in (1, 20):
    path = f"{sys.argv[1]}/journal-{missing}"
    study(path, load=False).optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    whole = open(path, "rb").read()
    with open(path, "wb") as file:
        file.write(whole[:-missing])
    ends = [session(path) for _ in range(3)]
    for number, (states, end) in enumerate(ends, 1):
        print(f"last {missing} bytes missing, session {number}: {states}, then {end}")
    states = ["COMPLETE", "COMPLETE", "RUNNING"]
    assert ends == [
        (states, "AttributeError"),
        (states, "JSONDecodeError"),
        (None, "JSONDecodeError"),
    ], ends
print("as described")
PY
