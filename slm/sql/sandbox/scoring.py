"""How many of a gold's neighbours its further instances tell apart: its kill score."""

from typing import Any

from slm.sql.results import Refused, ResultSet
from slm.sql.sandbox.further import Further
from slm.sql.sandbox.heartbeat import Heartbeat
from slm.sql.sandbox.judging import Judge


class Scorer:
    """Answers requests of kind `score`: `mutants`, `killed`, `fragile_killed` and the number of strict `instances`."""

    def __init__(self, heartbeat: Heartbeat, timeout_s: float, max_rows: int) -> None:
        self._judge = Judge(heartbeat, timeout_s, max_rows)
        self._further = Further(heartbeat)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """The counts are None for a gold that fails."""
        try:
            database = self._judge.open(request)
        except Refused as refused:
            return {"reason": "database_unavailable", "detail": refused.detail}
        gold = self._judge.gold(database, request["sql"])
        if gold.outcome.result is None:
            return {"reason": "gold_failed", "detail": str(gold.outcome.refusal)}
        pair = self._further.begin({**request, "prediction": gold.sql}, database, gold, ResultSet((), ()))
        found = self._further.instances(pair)
        return {
            "reason": "ok",
            "mutants": found.mutants,
            "killed": found.killed,
            "fragile_killed": found.fragile_killed,
            "instances": sum(instance.strict for instance in found.instances),
            "survivors": list(found.survivors),
            "made": pair.made,
        }
