"""`slm sql` and `slm eval` on data of one's own, as a user runs them."""

import json
from pathlib import Path

import apsw
import pytest

SHOP = """
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT);
CREATE TABLE purchase(id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer(id), amount INTEGER);
INSERT INTO customer VALUES (1, 'Ada', 'York'), (2, 'Bo', NULL), (3, 'Cy', 'York');
INSERT INTO purchase VALUES (1, 1, 30), (2, 1, 45), (3, 3, 45);
"""
NAMES = "SELECT name FROM customer"
ADA = 'SELECT id FROM customer WHERE name = "Ada"'


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """The judge's store, apart from the user's own."""
    monkeypatch.setenv("SLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def shop(tmp_path) -> Path:
    """A database, in the folder that commands run in."""
    path = tmp_path / "databases" / "shop" / "shop.sqlite"
    path.parent.mkdir(parents=True)
    with apsw.Connection(str(path)) as connection:
        connection.execute(SHOP).fetchall()
    connection.close()
    return path


@pytest.fixture
def write(tmp_path):
    """`write(name, line, …)`: a JSON Lines file."""

    def write(name: str, *lines: dict) -> str:
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return name

    return write


def pair(name: str, prediction: str, gold: str | list[str] = NAMES, **more: object) -> dict:
    return {"id": name, "gold": gold, "pred": prediction, "db": "shop"} | more


def verdicts(done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


JUDGED = [
    (pair("z", "SELECT c.name FROM customer c"), True, "correct", "proved"),
    (pair("a", "SELECT name FROM customer WHERE id < 4"), False, "separated_on_instance", "wrong"),
    (pair("7", "SELECT nmae FROM customer"), False, "unknown_column", "wrong"),
    (pair("m", "SELECT DISTINCT city FROM customer", "SELECT city FROM customer"), False, "multiplicity_only", "wrong"),
    (pair("y", NAMES, ["SELECT city FROM customer", NAMES]), True, "correct", "proved"),
    (pair("b", NAMES, "SELECT nosuch FROM customer"), None, "gold_failed", None),
    (pair("x", NAMES, db="nowhere"), None, "database_unavailable", None),
    (
        pair("c", "SELECT 3", "SELECT count(*) FROM t", db=None, schema_sql="CREATE TABLE t(a)", data_sql=""),
        False,
        "values",
        "wrong",
    ),
    (pair("q", ADA, NAMES), False, "unknown_column", "wrong"),
    (pair("r", ADA, ADA.replace('"', "'"), double_quoted_text=True), True, "correct", "proved"),
]
KEYS = ["id", "correct", "level", "reason", "detail", "readings", "fragile", "witness", "gold_ms", "prediction_ms"]


def test_judge_gives_one_line_a_pair_in_their_order(slm, shop, write, home):
    done = slm("sql", "judge", write("pairs.jsonl", *(each[0] for each in JUDGED)), "--db-dir", "databases")
    found = verdicts(done)
    expected = [(line["id"], correct, reason, level) for line, correct, reason, level in JUDGED]
    assert [(each["id"], each["correct"], each["reason"], each["level"]) for each in found] == expected
    assert all(set(KEYS) <= each.keys() for each in found)
    assert found[0]["readings"] == {"bird": True, "test_suite": True}
    assert found[0]["witness"] is None
    assert found[1]["witness"]["tables"]["customer"]["rows"]
    assert found[2]["detail"].startswith("no such column: nmae (customer has: id, name, city")
    assert (home / "judge.sqlite").is_file()


def test_judge_keeps_the_order_of_many_pairs(slm, shop, write):
    lines = [pair(str(n * 7919 % 1000), f"SELECT {n % 2 + 2} -- {n}", f"SELECT {n % 3 + 2}") for n in range(1000)]
    done = slm("sql", "judge", write("pairs.jsonl", *lines), "--db-dir", "databases", "--instances", "0")
    right = [(line["id"], line["pred"][7] == line["gold"][7]) for line in lines]
    assert [(each["id"], each["correct"]) for each in verdicts(done)] == right


def test_judge_takes_another_dialect(slm, shop, write):
    line = pair(
        "a", "SELECT TOP 1 name FROM customer ORDER BY id", f"{NAMES} ORDER BY id OFFSET 0 ROWS FETCH FIRST 1 ROW ONLY"
    )
    command = ["sql", "judge", write("pairs.jsonl", line), "--db-dir", "databases", "--instances", "0"]
    assert verdicts(slm(*command))[0]["correct"] is None
    assert verdicts(slm(*command, "--transpile-from", "tsql"))[0]["correct"] is True
    message = slm(*command, "--transpile-from", "klingon", expect=2).stderr
    assert "klingon: no such dialect" in message
    assert "tsql" in message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([pair("a", NAMES), {"id": "b", "gold": NAMES, "db": "shop"}], "pairs.jsonl:2: key 'pred'"),
        ([pair("a", NAMES), pair("a", NAMES)], "pairs.jsonl:2: id 'a' stands in line 1 too"),
        ([pair("a", NAMES, schema_sql="CREATE TABLE t(a)")], "pairs.jsonl:1: needs either `db`"),
    ],
)
def test_a_mistake_in_the_pairs_is_located_before_anything_is_judged(slm, shop, write, lines, message):
    done = slm("sql", "judge", write("pairs.jsonl", *lines), "--db-dir", "databases", expect=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_not_there(slm):
    assert "nowhere.jsonl" in slm("sql", "judge", "nowhere.jsonl", expect=2).stderr


def test_run(slm, shop):
    done = slm("sql", "run", "SELECT name, name, amount FROM customer JOIN purchase ON customer_id = 3", "--db", shop)
    assert json.loads(done.stdout)[0] == {"name": "Ada", "name (2)": "Ada", "amount": 45}
    assert done.stderr.startswith("3 rows in ")


def test_check(slm, shop):
    good = json.loads(slm("sql", "check", NAMES, "--db", shop).stdout)
    assert [each["kind"] for each in good] == ["good"]
    doubtful = json.loads(slm("sql", "check", f"{NAMES} LIMIT 1", "--db", shop).stdout)
    assert [each["kind"] for each in doubtful] == ["unordered_limit"]


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nmae FROM customer", "unknown_column: no such column: nmae (customer has: id, name, city"),
        ("SELECT 1 FROM customers", "unknown_table: no such table: customers (has: customer, purchase)"),
        ("DELETE FROM customer", "forbidden"),
        ("SELECT", "syntax"),
    ],
)
def test_what_is_refused_ends_with_1_and_says_why(slm, shop, command, sql, message):
    before = shop.read_bytes()
    done = slm("sql", command, sql, "--db", shop, expect=1)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert shop.read_bytes() == before


def test_run_stops_what_does_not_end(slm, shop):
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    done = slm("sql", "run", endless, "--db", shop, "--timeout-s", "0.2", expect=1)
    assert "timeout: stopped after 0.2 s" in done.stderr
    assert "too_many_rows" in slm("sql", "run", NAMES, "--db", shop, "--max-rows", "2", expect=1).stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_database_that_is_not_there_ends_with_2(slm, command):
    assert "nowhere.sqlite: no such file" in slm("sql", command, "SELECT 1", "--db", "nowhere.sqlite", expect=2).stderr


QUESTIONS = [
    {"id": "names", "question": "Who are our customers?", "sql": NAMES, "db": "shop"},
    {"id": "top", "question": "Which is the largest?", "sql": "SELECT id FROM purchase ORDER BY amount DESC LIMIT 1"},
    {"id": "none", "question": "Who lives in Rome?", "sql": f"{NAMES} WHERE city = 'Rome'"},
    {"id": "bad", "question": "What is wrong?", "sql": "SELECT nosuch FROM customer"},
]


@pytest.fixture
def questions(shop, write) -> str:
    return write("mine.jsonl", *({"db": "shop"} | question for question in QUESTIONS))


def test_lint_golds(slm, questions):
    done = slm("sql", "lint-golds", questions, "--databases", "databases")
    kinds = {(each["id"], each["kind"]) for each in json.loads(done.stdout)}
    assert {("top", "limit_tie"), ("none", "empty"), ("bad", "failed")} <= kinds
    assert "names" not in {name for name, _ in kinds}
    assert "4 golds, 3 with findings" in done.stderr


def test_kill_scores(slm, questions):
    done = slm("sql", "kill-scores", questions, "--databases", "databases", "--instances", "4")
    rows = {row["id"]: row for row in json.loads(done.stdout)}
    assert list(rows) == ["names", "top", "none", "bad"]
    assert rows["bad"]["kill_score"] is None
    for name in ("names", "top", "none"):
        assert rows[name]["kill_score"] == round(rows[name]["killed"] / rows[name]["mutants"], 4) > 0.5
    assert "4 golds, 3 with neighbours, median kill score" in done.stderr


def test_eval_with_instances_says_what_the_shipped_data_would(slm, questions, tmp_path):
    answers = [
        "SELECT name FROM customer WHERE id < 4",  # right on the shipped data only
        "SELECT 3",  # as good as 2, which ties; but not elsewhere
        f"{NAMES} WHERE city = 'Oslo'",  # nothing, as the gold
        NAMES,
    ]
    (tmp_path / "answers.txt").write_text("\n".join(answers) + "\n")
    command = ["eval", questions, "--databases", "databases", "--predictions", "answers.txt"]
    (shipped,) = json.loads(slm(*command, "--name", "shipped").stdout)
    (further,) = json.loads(slm(*command, "--name", "further", "--instances", "8").stdout)
    assert [result["accuracy"]["total"] for result in (shipped, further)] == [3, 3]
    assert [result["unavailable"] for result in (shipped, further)] == [1, 1]
    assert (shipped["accuracy"]["right"], shipped["undetermined"], shipped["accuracy_shipped"]) == (2, 1, None)
    assert (further["accuracy"]["right"], further["undetermined"]) == (0, 0)
    assert (further["accuracy_shipped"]["right"], further["undetermined_shipped"]) == (2, 1)
    assert further["by_reason"]["separated_on_instance"] == 3
    for result in (shipped, further):
        readings = {name: rate["right"] for name, rate in result["readings"].items()}
        assert readings == {"bird": 2, "test_suite": 2}
