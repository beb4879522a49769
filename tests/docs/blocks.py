# SPDX-License-Identifier: Apache-2.0
"""Blocks of a page of documentation, and how a test runs them: commands in this process, Python and TOML as files.

A command that trains or simulates is played back: every stage takes its folder from the finished run of the tests, so
that options, configuration, order, provenance and messages are those of the real command at no cost. Commands whose
work another test does are only parsed, each with the name of that test.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from spikefold.errors import ConfigError
from spikefold.files import read_json
from spikefold.pipeline import app
from spikefold.provenance.origin import ORIGIN
from spikefold.session import Session, keep_config
from spikefold.stage_table import REPORTS, STAGES, TRAIN, Stage
from spikefold.stages.report import write

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    ("evaluate",): "tests/stages/evaluate/test_on_recordings.py",
    ("sweep",): "tests/stages/sweep/test_sweep.py",
    ("analyse",): "tests/stages/test_analyse.py",
    ("import",): "tests/stages/exchange/test_import_checkpoint.py",
    ("fit", "--arch", "a"): "tests/commands/test_fit.py",
    ("validate", "runs/mine", "--reduce"): "tests/stages/verbs/test_reduce_mismatch.py",
    ("energy", "silicon"): "tests/stages/report/test_silicon_chapter.py",
    ("energy", "table3"): "tests/energy/test_table3.py",
    ("inspect", "--arch"): "tests/commands/test_inspect.py",
    ("export", "sinabs.nir"): "tests/stages/exchange/test_nir_commands.py",
    ("energy", "sinabs.nir"): "tests/stages/exchange/test_nir_commands.py",
}
"""Beginnings of commands that are only parsed here, and the test that runs them."""


@dataclass(frozen=True)
class Block:
    """One fenced block: the word behind the fence, and its text."""

    kind: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(kind, text) for kind, text in found]


@dataclass(frozen=True)
class Command:
    """One line of a block: its words, and the exit codes that its comment allows."""

    words: tuple[str, ...]
    codes: frozenset[int]


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a block of a shell."""
    for line in block.text.splitlines():
        told = re.search(r"#.*exit code (\d)", line)
        codes = frozenset({0, *([int(told.group(1))] if told else [])})
        for part in line.split(" && "):
            words = tuple(shlex.split(part, comments=True))
            if words:
                yield Command(words, codes)


def parsed(words: tuple[str, ...]) -> None:
    """Parse a command without doing it; a wrong option or a missing argument raises."""
    command: Any = get_command(app)
    context, rest = command.make_context("spikefold", list(words), resilient_parsing=True), list(words)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        if command is None:
            raise ConfigError(f"no command of this name in {' '.join(words)}")
        if hasattr(command, "resolve_command"):
            context = command.make_context(name, list(rest), parent=context, resilient_parsing=True)
            rest = [*context._protected_args, *context.args]  # a group may have put its default command before them
        else:
            command.make_context(name, list(rest), parent=context)


def run_block(block: Block, place: Path, run: Path) -> int:
    """Run one block in a folder, stages played back from a finished run; how many things were run."""
    if block.kind == "sh":
        commands = list(commands_of(block))
        for command in commands:
            with played_back(run, place):
                _run(command)
        return len(commands)
    if block.kind == "text":  # commands that need a machine that is not here
        ours = [command for command in commands_of(block) if command.words[0] == "spikefold"]
        for command in ours:
            parsed(command.words[1:])
        return len(ours)
    if block.kind == "python":
        named = re.match(r"# (\w+\.py)\n", block.text)
        path = place / (named.group(1) if named else "block.py")
        path.write_text(block.text, encoding="utf-8")
        runpy.run_path(str(path), run_name="block")
        return 1
    if block.kind == "toml":
        tomllib.loads(block.text)
        if named := re.match(r"# (\w+\.toml)\n", block.text):
            (place / named.group(1)).write_text(block.text, encoding="utf-8")
        return 1
    assert block.kind == "", f"nobody runs a block of {block.kind}"
    return 0


def _run(command: Command) -> None:
    if command.words[0] == "make":
        assert re.search(rf"^{command.words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    if command.words[:2] == ("python", "-m"):  # benchmarks, which take their time
        assert (ROOT / Path(*command.words[2].split("."))).with_suffix(".py").is_file(), command.words
        return
    assert command.words[0] == "spikefold", command.words
    words = command.words[1:]
    if ">" in words:  # a configuration into a file
        words, (target,) = words[: words.index(">")], words[words.index(">") + 1 :]
    else:
        target = ""
    for beginning, test in ELSEWHERE.items():
        if words[: len(beginning)] == beginning:
            assert (ROOT / test).is_file(), test
            parsed(words)
            return
    done = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert done.exit_code in command.codes, f"{' '.join(command.words)}\n{done.output}"
    if target:
        Path(target).write_text(done.stdout, encoding="utf-8")


@contextmanager
def played_back(run: Path, place: Path) -> Iterator[None]:
    """Stages take their folders from a finished run; runs of the place that lose a stage get it back at the end."""
    load = Stage.load

    def loaded(stage: Stage) -> Callable[[Any], Any]:
        return (lambda session: _play(stage, session, run)) if stage.in_run else load(stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "load", loaded)
        patch.setattr(write, "write_report", lambda session: _report(session, run))
        yield
    for folder in (place / "runs").iterdir():
        for stage in STAGES:
            if stage.in_run and not (folder / stage.folder).is_dir():
                shutil.copytree(run / stage.folder, folder / stage.folder)


def _play(stage: Stage, session: Session, run: Path) -> None:
    with session.writing(stage) as folder:
        shutil.copytree(run / stage.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(ORIGIN))
    if stage is TRAIN:
        keep_config(session)


def _report(session: Session, run: Path) -> Any:
    for name in REPORTS:
        shutil.copy(run / name, session.folder / name)
    return read_json(run / REPORTS[0])
