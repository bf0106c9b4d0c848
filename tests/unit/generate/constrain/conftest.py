"""A small shop as a database, and a tokenizer of bytes for llguidance."""

import apsw
import pytest
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from slm.generate.constrain.grammar import sql_grammar
from slm.generate.constrain.scope import SchemaScope
from slm.sql.schema import schema_of

END = 256
SHOP = """
CREATE TABLE client(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, client_id INTEGER REFERENCES client(id), total REAL, day TEXT);
CREATE TABLE "odd table"("a b" TEXT, "order" TEXT, city TEXT);
CREATE TABLE flag(on_sale INTEGER);
"""


class Bytes:
    """Every byte is a token."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(256)), b"<end>")
    special_token_ids = (END,)

    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())


@pytest.fixture(scope="session")
def byte_tokens() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(Bytes()))


@pytest.fixture(scope="session")
def shop() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for kind in (apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_DQS_DDL):
        connection.config(kind, 0)
    connection.execute(SHOP)
    return connection


@pytest.fixture(scope="session")
def scope(shop) -> SchemaScope:
    return SchemaScope(schema_of(shop))


@pytest.fixture(scope="session")
def matcher(shop, byte_tokens) -> LLMatcher:
    return LLMatcher(byte_tokens, LLMatcher.grammar_from_lark(sql_grammar(schema_of(shop))))
