"""An operator that asks in several steps: critics at once, an author, a judge."""

from __future__ import annotations

import asyncio

from pydantic import Field

import evolteacher as et


class Debate(et.Operator, name="debate"):
    """Have critics say what makes the task easy, rewrite it by that, and have a judge look at it."""

    markers = ("[TASK]", "[/TASK]", "[HARDER TASK]")

    critics: tuple[str, ...] = Field(
        ("its inputs", "its algorithm"), min_length=1, max_length=5, description="What each critic looks at."
    )
    tries: int = Field(2, ge=1, le=3, description="Rewrites at most; the judge may ask for another.")

    async def evolve(self, parent: et.Instruction, ask: et.Ask) -> str:
        """Critics, author, judge; what the last author wrote is taken."""
        task = f"[TASK]\n{parent.text}\n[/TASK]"
        asked = (ask(f"In one sentence, what in {side} makes this task easy?\n\n{task}") for side in self.critics)
        said = "\n".join(f"- {reply.text.strip()}" for reply in await asyncio.gather(*asked))
        prompt = f"Rewrite the task so that what critics say no longer holds:\n{said}\n\n{task}\n\n[HARDER TASK]\n"
        child = self.read(await ask(prompt), parent)
        for _ in range(self.tries - 1):
            verdict = await ask(
                f"Is the second task harder than the first? Yes or no.\n\n{task}\n\n[TASK]\n{child}\n[/TASK]",
                role="judge",
                temperature=0,
                max_tokens=8,
            )
            if not verdict.text.strip().lower().startswith("no"):
                break
            child = self.read(await ask(f"Harder still.\n\n{prompt}"), parent)
        return child


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """Bring it."""
    return [Debate]
