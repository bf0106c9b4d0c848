"""The tokens of a query's text so far, of which the last may be a word that is not complete."""

import re
from typing import Never

from slm.generate.constrain.names import RefusedError
from slm.generate.constrain.words import RESERVED, is_alias

# Not a tokenizer of sqlglot's, because text ends anywhere here, also within a literal, and this runs for every token.
_TOKEN = re.compile(r"""[^\W\d][\w$]*|\d[\w.]*|'(?:[^']|'')*'?|"(?:[^"]|"")*"?|\s\s+|--|\|\||[<>=!]=|<>|[^\s\w]""")
# Stands behind the last token of a finished text.
END = "\0"


class TextEnds(Exception):
    """Nothing was refused up to where the text ends."""


class WordCut(Exception):
    """Nothing was refused up to the last word, a keyword that the text cuts short."""


def tokenize(text: str) -> list[str]:
    """In lower case. White space is left out, except where it is more than one space."""
    return _TOKEN.findall(text.lower())


class Tokens:
    """Stands before one of the tokens, `at`; `cut` is the place of the word that is cut short, or -1."""

    def __init__(self, tokens: list[str], *, cut: bool) -> None:
        self.tokens = tokens
        self.at = 0
        self.end = len(tokens)
        self.cut = self.end - 1 if cut else -1

    def peek(self) -> str:
        """The next word, where no name can stand."""
        if self.at == self.end:
            raise TextEnds
        if self.at == self.cut:
            raise WordCut
        return self.tokens[self.at]

    def take(self, *wanted: str) -> bool:
        """Step over the next word if it is one of these."""
        if self.peek() in wanted:
            self.at += 1
            return True
        return False

    def expect(self, wanted: str) -> None:
        """Step over the next token. Raises RefusedError if it is another."""
        if not self.take(wanted):
            raise RefusedError

    def begins(self, *wanted: str) -> bool:
        """Step over the next word, where a name could stand as well, if it is one of these."""
        word = self.name()
        if self.at == self.cut:
            if any(each.startswith(word) for each in wanted):
                raise TextEnds
        elif word in wanted:
            self.at += 1
            return True
        return False

    def number(self) -> None:
        """Step over a whole number. Raises RefusedError for anything else."""
        if not self.name().isdigit():
            raise RefusedError
        self.at += 1

    def name(self) -> str:
        """The next token, where a name can stand. Raises TextEnds."""
        if self.at == self.end:
            raise TextEnds
        return self.tokens[self.at]

    def unclosed(self) -> Never:
        """The next token goes on behind the end of the text. Raises TextEnds, or RefusedError in a finished text."""
        raise TextEnds if self.at + 1 == self.end else RefusedError

    def ahead(self, distance: int = 1) -> str | None:
        """The token behind the next one, None behind the end."""
        place = self.at + distance
        return self.tokens[place] if place < self.end else None

    def alias(self) -> str:
        """Step over an alias. Raises RefusedError for a word that SQLite would want quoted."""
        word = self.name()
        if not is_alias(word):
            raise RefusedError
        if self.at == self.cut:
            raise TextEnds
        if word in RESERVED:
            raise RefusedError
        self.at += 1
        return word


def is_word(token: str) -> bool:
    """Whether it is a name or a keyword, without quotes."""
    return token[:1].isalpha() or token[:1] == "_"


def is_closed(token: str) -> bool:
    """Whether a name in double quotes has its second one."""
    return len(token) > 1 and token.count('"') % 2 == 0


def unquoted(token: str) -> str:
    """A name without the double quotes that it may stand in."""
    return token[1:-1].replace('""', '"') if token[0] == '"' else token
