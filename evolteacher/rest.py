"""What a replay that may not ask would have to ask: a gate that never sells, and a count of the calls that are left."""

from __future__ import annotations

from collections import Counter

from evolteacher.answerer import Answerer
from evolteacher.backend import Backend, Workload
from evolteacher.batches import Batcher
from evolteacher.budget import Bought, Till
from evolteacher.engine import Engine
from evolteacher.errors import NotStored
from evolteacher.expected import judging_of
from evolteacher.gate import Gate, Keep
from evolteacher.ledger import Ledger
from evolteacher.messages import Request, Role
from evolteacher.operator import Operator
from evolteacher.pipeline import Check, Pipeline
from evolteacher.progress import Progress
from evolteacher.recipe import Recipe
from evolteacher.stopping import rounds_of
from evolteacher.store import Store
from evolteacher.use import Use

_ASKS_OF_OPERATORS = """
SELECT operator, max(asks) FROM (
    SELECT s.operator, count(DISTINCT r.nth) AS asks FROM steps s JOIN seeds ON seeds.ord = s.ord
    JOIN replies r ON r.lineage = seeds.id AND r.round = s.round AND r.step = 'evolve' GROUP BY s.ord, s.round)
GROUP BY operator
"""
_ASKS_OF_STEPS = """
SELECT step, max(asks) FROM (
    SELECT step, count(DISTINCT nth) AS asks FROM replies WHERE step != 'evolve' GROUP BY lineage, round, step)
GROUP BY step
"""


class Rest:
    """Counts the calls that pending lineages have left.

    A lineage that stops at a step needs that call, and those of all later steps and rounds if it is kept throughout:
    that is the most, each step asking as often as it ever did in the folder. Likely are those whose step has no stored
    reply yet (what is stored for a step fits as long as the lineage becomes what it was), times the folder's rate of
    kept evolutions for each round in between.

    Args:
        recipe: the experiment.
        store: of the run; its rate is read now.
    """

    def __init__(self, recipe: Recipe, store: Store) -> None:
        self._recipe = recipe
        self._store = store
        self._rounds = rounds_of(recipe, store)
        self._engine: Engine | None = None
        self._pipeline = Pipeline.of(recipe.filters)
        self._seen: set[str] = set()
        self._orders: dict[str, int] = {}
        self._most: Counter[tuple[Role, str]] = Counter()
        self._likely: dict[tuple[Role, str], float] = {}
        tried, kept = store.query("SELECT count(*), total(filter = '') FROM steps WHERE round > 0").fetchone()
        self._kept = kept / tried if tried else 1.0
        self._evolving = dict(store.query(_ASKS_OF_OPERATORS).fetchall())
        self._others = dict(store.query(_ASKS_OF_STEPS).fetchall())

    @property
    def calls(self) -> dict[tuple[Role, str], tuple[int, float]]:
        """(role, backend key) -> (calls at most, likely calls)."""
        return {key: (most, self._likely[key]) for key, most in self._most.items()}

    def follow(self, engine: Engine) -> None:
        """Choose operators as this engine does."""
        self._engine = engine

    def add(self, lineage: str, round: int, step: str) -> None:
        """Count what a lineage has left that stops at a step; only its first stop counts."""
        if lineage in self._seen:
            return
        if not self._orders:
            self._orders = {id.hex(): order for order, id in self._store.query("SELECT ord, id FROM seeds")}
        self._seen.add(lineage)
        query = "SELECT DISTINCT round, step FROM replies WHERE lineage = ?"
        stored = set(self._store.query(query, (bytes.fromhex(lineage),)).fetchall())
        together = self._together()
        names = [name for name, _, _ in together]
        for name, role, backend in together[names.index(step) if step in names else 0 :]:
            self._count(role, backend, self._times(lineage, 0, name), float((0, name) not in stored or name == step))
        if step in names:
            return
        share = 1.0
        for later in range(round, self._rounds + 1):
            steps = self._steps(lineage, later)
            names = [name for name, _, _ in steps]
            begun = names.index(step) if later == round and step in names else 0
            for name, role, backend in steps[begun:]:
                new = (later, name) not in stored or (later, name) == (round, step)
                times = self._times(lineage, later, name)
                self._count(role, backend, times, share * new)
            if later and self._recipe.on_pruned == "retire":
                share *= self._kept

    def _count(self, role: Role, backend: str, times: int, share: float) -> None:
        self._most[role, backend] += times
        self._likely[role, backend] = self._likely.get((role, backend), 0.0) + share * times

    def _together(self) -> list[tuple[str, Role, str]]:
        """Return (step, role, backend key) of what is asked once a lineage has left its rounds."""
        uses = self._pipeline.lineage
        return [(f"filter:{use.label}:lineage", "judge", self._recipe.backend_of("judge", use)) for use in uses]

    def _use(self, lineage: str, round: int) -> Use[Operator]:
        """Return the operator of a round, as if all rounds before it were kept."""
        assert self._engine is not None
        return self._engine.draw(round, lineage, self._orders[lineage], self._recipe.material if round == 1 else "task")

    def _steps(self, lineage: str, round: int) -> list[tuple[str, Role, str]]:
        """Return (step, role, backend key) of what one round may ask, in order."""
        recipe, pipeline = self._recipe, self._pipeline
        respond: tuple[str, Role, str] = ("respond", "respond", recipe.backend_of("respond"))
        if round == 0:
            first = self._judges(pipeline.seed_instruction, "")
            answer = [respond] if recipe.answers_seeds else []
            return [*first, *answer, *self._judges(pipeline.seed_response, ":response")]
        use = self._use(lineage, round)
        evolve: tuple[str, Role, str] = ("evolve", "evolve", recipe.backend_of("evolve", use))
        judges = self._judges(pipeline.instruction, "")
        return [evolve, *judges, respond, *self._judges(pipeline.response, ":response")]

    def _times(self, lineage: str, round: int, step: str) -> int:
        """Return how often a step has asked at most, as far as the folder tells; once where it does not.

        A step that asks in several roles counts so for each of them: the folder does not tell one from another.
        """
        if step == "evolve":
            return int(self._evolving.get(self._use(lineage, round).label, 1))
        return int(self._others.get(step, 1))

    def _judges(self, checks: tuple[Check, ...], place: str) -> list[tuple[str, Role, str]]:
        asking = [(role, check.use) for check in checks for role in judging_of(check.use)]
        return [(f"filter:{use.label}{place}", role, self._recipe.backend_of(role, use)) for role, use in asking]


class ClosedGate(Gate):
    """Lets no call out: a lineage that would need one stays pending, and what it has left is counted.

    Args:
        recipe: the experiment.
        store: of the run.
        progress: counters.
        rest: counts.
    """

    def __init__(self, recipe: Recipe, store: Store, progress: Progress, rest: Rest) -> None:
        super().__init__(recipe.concurrency, recipe.limits, Till(Ledger(store), None, {}, {}, progress), progress)
        self._rest = rest

    async def call(
        self, key: str, backend: Backend, request: Request, batcher: Batcher | None = None, keep: Keep | None = None
    ) -> Bought:
        """Refuse.

        Raises:
            NotStored: always.
        """
        lineage, round, step, _ = request.slot.split("/", 3)
        if lineage:  # what is asked for the run itself comes before any lineage
            self._rest.add(lineage, int(round), step)
        raise NotStored(f"a reply is needed that is not stored: {step} in round {round}")


class ClosedAnswerer(Answerer):
    """A backend that is only asked what it is, and never opened: no model is loaded, and no key is needed."""

    def __init__(self, key: str, backend: Backend, workload: Workload, gate: Gate) -> None:
        super().__init__(key, backend, workload, gate)
        self.batcher = None

    async def ready(self) -> Backend:
        """Return the backend, closed."""
        return self.backend
