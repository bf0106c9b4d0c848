"""YAML and overrides as located entries: every value keeps the file and line, or the override, that it came from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slm.errors import RecipeError
from slm.recipe.keys import known_keys, nearest_key, sections

# Besides its own errors PyYAML lets through those of converting a scalar (`2021-99-99`, `!!int ''`) or of the stack.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and where it was written (`file:line`, or `override 'key=value'`)."""

    value: Any
    where: str


@dataclass
class Source:
    """What files and overrides say so far: entries by dotted key, where each section stands, and every problem."""

    entries: dict[str, Entry] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    # Keys that a misspelt one was likely meant to be: not reported as missing as well.
    meant: set[str] = field(default_factory=set)
    # A file could not be read as a mapping: what it lacks is not known.
    broken: bool = False

    def problem(self, where: str, text: str, *, expected: str | None = None, hint: str | None = None) -> None:
        """Note one problem; all are raised together."""
        self.problems.append(str(RecipeError(text, where=where, expected=expected, hint=hint)))

    def unknown(self, where: str, key: str) -> None:
        """Note an unknown key, with the known one it was likely meant to be."""
        if key in known_keys():
            section, _, leaf = key.partition(".")
            self.problem(where, f"key {key!r} with a dot", expected=f"a section `{section}:` with `{leaf}:` below it")
            self.meant.add(key)
            return
        near = nearest_key(key)
        if near:
            self.meant.add(near)
            self.problem(where, f"unknown key {key!r}", expected=f"did you mean {near!r}?")
            return
        section = key.partition(".")[0]
        siblings = [name for name in known_keys() if name.startswith(f"{section}.")]
        self.problem(where, f"unknown key {key!r}", expected="one of " + ", ".join(siblings or sections()))


def read_file(path: Path, source: Source, *, may_extend: bool = True) -> None:
    """Add what `path` says to `source`, the file it extends first. Problems are noted, never raised."""
    document = _Document.open(path, source)
    if document is None:
        source.broken = True
        return
    top = document.pairs(document.root, "")
    if "extends" in top:
        _read_base(path, document, top.pop("extends"), source, may_extend=may_extend)
    for key, node in top.items():
        if key in sections():
            document.read_section(key, node)
        elif key in known_keys() and "." not in key:
            document.read_value(key, node)
        else:
            source.unknown(document.where(node), key)


def _read_base(path: Path, document: "_Document", node: yaml.Node, source: Source, *, may_extend: bool) -> None:
    where = document.where(node)
    if not may_extend:
        source.problem(where, "`extends` in a recipe that is itself extended", expected="one level of `extends`")
        return
    base = path.parent / str(node.value)
    if not isinstance(node, yaml.ScalarNode) or not base.is_file():
        shown = node.value if isinstance(node, yaml.ScalarNode) else "this"
        source.problem(where, f"extends is {shown!r}: no such file", expected="a recipe's path, relative to this file")
        source.broken = True
        return
    read_file(base, source, may_extend=False)
    for key in ("name", "description"):  # they describe one file, not what is made from it
        source.entries.pop(key, None)


class _Document:
    """One YAML file as nodes, so that every key has a line."""

    def __init__(self, path: Path, loader: yaml.SafeLoader, root: yaml.Node, source: Source) -> None:
        self.path, self.root = path, root
        self._loader, self._source = loader, source

    @classmethod
    def open(cls, path: Path, source: Source) -> "_Document | None":
        try:
            loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
            root = loader.get_single_node()
        except _UNREADABLE as error:
            where, text = _yaml_problem(error)
            source.problem(f"{path}{where}", f"not readable as YAML: {text}")
            return None
        except OSError as error:
            source.problem(str(path), f"not readable: {error.strerror}")
            return None
        if root is None:  # an empty file
            root = yaml.MappingNode("tag:yaml.org,2002:map", [])
        if not isinstance(root, yaml.MappingNode):
            source.problem(str(path), "not a recipe", expected="sections such as `model:` with keys below them")
            return None
        return cls(path, loader, root, source)

    def where(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"

    def pairs(self, mapping: yaml.Node, prefix: str) -> dict[str, yaml.Node]:
        """The values of a mapping by key; a repeated key is noted and its first value kept."""
        found: dict[str, yaml.Node] = {}
        for key_node, node in mapping.value:
            key = str(key_node.value)
            if key in found:
                first = found[key].start_mark.line + 1
                self._source.problem(
                    self.where(key_node), f"key {prefix + key!r} stands twice", expected=f"only the one of line {first}"
                )
                continue
            found[key] = node
        return found

    def read_section(self, section: str, node: yaml.Node) -> None:
        self._source.places[section] = self.where(node)
        if node.tag == "tag:yaml.org,2002:null":  # every key below it is commented out
            return
        if not isinstance(node, yaml.MappingNode):
            keys = [name.partition(".")[2] for name in known_keys() if name.startswith(f"{section}.")]
            self._source.problem(self.where(node), f"{section!r} is not a section", expected=f"keys: {', '.join(keys)}")
            self._source.meant.update(f"{section}.{key}" for key in keys)
            return
        for key, value in self.pairs(node, f"{section}.").items():
            dotted = f"{section}.{key}"
            if dotted in known_keys():
                self.read_value(dotted, value)
            else:
                self._source.unknown(self.where(value), dotted)

    def read_value(self, dotted: str, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            self.pairs(node, f"{dotted}.")  # PyYAML takes the last of repeated keys
        try:
            value = self._loader.construct_object(node, deep=True)
        except _UNREADABLE as error:
            expected = known_keys()[dotted].expected
            self._source.problem(self.where(node), f"{dotted}: {_yaml_problem(error)[1]}", expected=expected)
            self._source.meant.add(dotted)
            return
        self._source.entries[dotted] = Entry(value, self.where(node))


def read_overrides(overrides: Sequence[str], source: Source) -> None:
    """Add `key=value` overrides to `source`; values are YAML scalars or lists, the last of one key counts."""
    for text in overrides:
        where = f"override {text!r}"
        key, equals, value_text = text.partition("=")
        if not equals:
            source.problem(where, "no `=` in it", expected="KEY=VALUE, such as train.learning_rate=1e-4")
        elif key in sections():
            source.problem(where, f"{key!r} is a section", expected=f"{key}.KEY=VALUE")
        elif key not in known_keys():
            source.unknown(where, key)
        else:
            try:
                source.entries[key] = Entry(yaml.safe_load(value_text), where)
            except _UNREADABLE as error:
                source.problem(
                    where, f"not readable as YAML: {_yaml_problem(error)[1]}", expected=known_keys()[key].expected
                )
                source.meant.add(key)


def _yaml_problem(error: Exception) -> tuple[str, str]:
    """(`:line` or nothing, what was wrong) of an error of the YAML parser."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        mark = error.problem_mark or error.context_mark
        return f":{mark.line + 1}" if mark else "", error.problem
    if isinstance(error, RecursionError):
        return "", "nested too deeply"
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return "", str(error).partition("\n")[0]
    return "", "not a value of its kind"
