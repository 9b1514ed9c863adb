"""``evolteacher plan``: what a run would ask, before it asks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.table import Table
from rich.text import Text

from evolteacher.cli.options import BackendName, Changes, Limit, OutFolder, RecipeName, with_limit
from evolteacher.cli.terminal import complain, count, duration, emit, load_catalog, plain, usd
from evolteacher.cli.training_plan import show_measuring, show_training
from evolteacher.database import DATABASE
from evolteacher.errors import UsageError
from evolteacher.plan import MEASURED_FROM, Plan, make_plan
from evolteacher.recipe import Recipe
from evolteacher.runfolder import check_experiment
from evolteacher.store import Store
from evolteacher.training.job import Training, read_recipe


def plan(
    recipe: RecipeName,
    out: OutFolder = None,
    limit: Limit = None,
    changes: Changes = None,
    backend: BackendName = None,
) -> None:
    """Say what a run would ask: calls at most, an estimate of tokens and dollars, and the least time.

    Nothing is asked, fetched or written. A token is taken for four characters, and a response for 300 tokens or as
    long as those that the seeds bring. Where the run's folder exists, what it holds already is said, and the means
    of its own replies are used. Low dollars are for answers of half that length, high ones for twice it (two
    standard errors, if measured).
    """
    catalog = load_catalog()
    loaded = read_recipe(recipe, set=with_limit(changes, limit), backend=backend, catalog=catalog)
    if not isinstance(loaded, Recipe):
        training = Training.of_recipe(loaded)
        if out is not None:
            training = training.model_copy(update={"folder": out})
        show_training(training, catalog)
        show_measuring(training, catalog)
        return
    folder = out if out is not None else Path("runs") / loaded.name
    with ExitStack() as stack:
        store = None
        if (folder / DATABASE).exists():
            store = stack.enter_context(Store(folder / DATABASE, read_only=True))
            try:
                check_experiment(store, loaded)
            except UsageError as error:
                complain("warning", f"`evolteacher run` would refuse this folder, and the plan leaves it out. {error}")
                store = None
        made = make_plan(loaded, catalog, store)
    _show(made, loaded, folder if store is not None else None)
    if loaded.train is not None:
        show_training(Training.of_run(loaded, folder), catalog)
        show_measuring(Training.of_run(loaded, folder), catalog)


def _show(made: Plan, recipe: Recipe, folder: Path | None) -> None:
    seeds = f"{count(made.seeds, 'seed')}{' (assumed)' if made.unread and recipe.seeds.limit is None else ''}"
    emit(Text(f"{recipe.name}: {seeds}, {count(made.rounds, 'round')}, {made.calls:,} calls at most", "bold"), Text())
    emit(_table(made, recipe), Text())
    remarks = Table.grid(padding=(0, 1))
    for line in _remarks(made, recipe, folder):
        remarks.add_row(" -", Text(line))
    emit(remarks)


def _table(made: Plan, recipe: Recipe) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(" role", no_wrap=True)
    table.add_column("backend", overflow="fold")
    headings = ["calls at most", *(["likely", "stored"] if _has_figures(made) else []), "tokens in", "tokens out"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in made.rows:
        use = recipe.backends[row.backend]
        model = getattr(use.component, use.component.primary, None)
        numbers = [row.calls, *_figures(made, row.likely, row.stored), row.prompt_tokens, row.completion_tokens]
        name = f"{use.written} {model}" if isinstance(model, str) else use.written
        table.add_row(f" {row.role}", Text(plain(name)), *(_number(number) for number in numbers))
    if len(made.rows) > 1:
        likely = [row.likely for row in made.rows if row.likely is not None]
        total = [
            made.calls,
            *_figures(made, sum(likely) if likely else None, sum(row.stored for row in made.rows)),
            sum(row.prompt_tokens for row in made.rows),
            sum(row.completion_tokens for row in made.rows),
        ]
        table.add_row(" together", "", *(_number(number) for number in total), style="bold")
    return table


def _has_figures(made: Plan) -> bool:
    return any(row.stored or row.likely is not None for row in made.rows)


def _figures(made: Plan, likely: int | None, stored: int) -> list[int | None]:
    return [likely, stored] if _has_figures(made) else []


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _remarks(made: Plan, recipe: Recipe, folder: Path | None) -> list[str]:
    lines = []
    if made.unread:
        lines.append(
            f"The seeds could not be read: {plain(made.unread)}. The plan is for {made.seeds:,} of medium length; say "
            "--limit N for another number."
        )
    fewer = "its parent is tried again" if recipe.on_pruned == "retry" else "its lineage ends"
    lines.append(f"Calls are fewer where rewrites are rejected: then no response is bought, and {fewer}.")
    if recipe.stop is not None:
        lines.append(f"All {made.rounds} rounds are counted; evolving ends sooner where {recipe.stop.signal} says so.")
    if made.again:
        lines.append(f"Of the judge's calls {made.again:,} are made only where a verdict could not be read.")
    if made.measured and folder is not None:
        lines.append(
            f"Tokens are estimated from the replies in {folder} ({MEASURED_FROM} or more of a role), else as by --help."
        )
    else:
        lines.append(
            "Tokens are an estimate: four characters a token; responses of 300 tokens, or as long as the seeds' own."
        )
    lines += _money(made, recipe)
    most = sum(row.most_tokens for row in made.rows)
    lines.append(f"max_tokens allows {most:,} tokens out at the very most.")
    if made.own_way:
        lines.append(
            f"These operators ask in a way of their own, and are counted with one call: {', '.join(made.own_way)}."
        )
    if made.minutes is not None:
        lines.append(f"The limits make it take {duration(made.minutes * 60)} at the least.")
    rows = made.seeds * (recipe.rounds + 1)
    for use in recipe.filters:
        if seconds := use.component.row_seconds:
            took = duration(seconds * rows)
            lines.append(f"'{use.label}' runs code on this machine: about {took} for {rows:,} rows on two cores.")
    lines += [plain(advice) for advice in made.advice]
    if folder is not None:
        lines.append(f"{folder} holds {sum(row.stored for row in made.rows):,} of these answers already.")
    return lines


def _money(made: Plan, recipe: Recipe) -> list[str]:
    """Say what it will cost, and whether the budget covers that."""
    lines = []
    unknown = dict.fromkeys(row.backend for row in made.rows if row.dollars is None)
    if unknown:
        keys = ", ".join(f"{key}: {{input: …, output: …}}" for key in unknown)
        lines.append(f"No dollars, since a price is not known. Write it for a million tokens: prices: {{{keys}}}.")
    elif (dollars := made.dollars) is not None and dollars.most:
        lines.append(
            f"It costs {usd(dollars.likely)} likely, {usd(dollars.low)} at the low end and {usd(dollars.high)} at the "
            f"high one; {usd(dollars.most)} if every answer took max_tokens."
        )
        if made.paid[0]:
            lines.append(f"The folder has paid {usd(made.paid[0])} so far.")
    budget = recipe.budget
    if budget is not None and budget.usd is not None and made.dollars is not None:
        covers = "covers" if made.dollars.high <= budget.usd else "may not cover"
        covers = "does not cover" if made.dollars.likely > budget.usd else covers
        lines.append(f"The budget of {usd(budget.usd)} {covers} it; a run that reaches it stops and can go on.")
    return lines
