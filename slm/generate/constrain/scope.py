"""What a grammar without context cannot say of a query: each column is one of a table that is bound where it stands.

The text so far is read anew for each token, by a parser that only looks at names: where the text ends it stops, and the
text is viable if nothing was refused. A word that the text cuts short may still become any word that begins so.
"""

from slm.generate.constrain.names import Names, RefusedError
from slm.generate.constrain.queries import Queries
from slm.generate.constrain.tokens import END, TextEnds, Tokens, WordCut, is_word, tokenize
from slm.generate.constrain.words import FOLLOWERS
from slm.sql.schema import Schema


class SchemaScope:
    """Reads queries on one schema. `double_quoted_text`: whether "x" may be a text where no column is called x."""

    def __init__(self, schema: Schema, *, double_quoted_text: bool = False) -> None:
        self._names = Names(schema)
        self._double_quoted_text = double_quoted_text

    def viable(self, prefix: str, *, finished: bool) -> bool:
        """Whether `prefix` is a query (`finished`), or may become one, that SQLite prepares on the schema."""
        tokens = tokenize(prefix)
        if not tokens or prefix[0].isspace():
            return not prefix and not finished
        cut = not finished and is_word(tokens[-1]) and not prefix[-1].isspace()
        if finished:
            tokens.append(END)
        try:
            return self._reads(tokens, cut=cut)
        except WordCut:
            *before, word = tokens
            followers = (follower for follower in FOLLOWERS if follower.startswith(word))
            return any(self._reads([*before, follower], cut=False) for follower in followers)

    def _reads(self, tokens: list[str], *, cut: bool) -> bool:
        """Raises WordCut."""
        queries = Queries(self._names, Tokens(tokens, cut=cut), double_quoted_text=self._double_quoted_text)
        try:
            queries.statement()
        except TextEnds:
            return True
        except RefusedError:
            return False
        return True
