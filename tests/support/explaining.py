"""A transaction that explains what it is asked before it answers, so that a test can read which way a question goes."""

from typing import Any

from tidings.database import Tx


class Explaining(Tx):
    """Explains every statement with `about` in it before it runs it; the plans are kept in their order."""

    def __init__(self, tx: Tx, kind: str, about: str = "") -> None:
        super().__init__()
        self.tx, self.explain, self.about = tx, "EXPLAIN QUERY PLAN " if kind == "sqlite" else "EXPLAIN ", about
        self.plans: list[str] = []

    def rows(self, sql: Any, /, **params: Any) -> list[tuple[Any, ...]]:
        if self.about in sql:
            self.plans.append("\n".join(str(row[-1]) for row in self.tx.rows(self.explain + sql, **params)))
        return self.tx.rows(sql, **params)

    def run(self, sql: Any, /, **params: Any) -> int:
        return self.tx.run(sql, **params)
