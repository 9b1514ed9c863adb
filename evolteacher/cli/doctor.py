"""``evolteacher doctor``: what this installation can do, what it cannot, and why."""

from __future__ import annotations

import json
import platform
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from evolteacher import __version__
from evolteacher.catalog import Catalog
from evolteacher.cli.terminal import count, emit, load_catalog, plain
from evolteacher.extras import Extra, extras
from evolteacher.installed import ENVIRONMENT, Plugin
from evolteacher.sandbox import Guard, Sandbox


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Write all of it as JSON to stdout.")] = False,
) -> int:
    """Say which Python this is, which extras are installed, which plugins failed, and how safe the sandbox is here.

    The sandbox's guards are tried, not guessed. The exit code is 1 where a plugin failed to load.
    """
    catalog, found, guards = load_catalog(quiet=True), extras(), Sandbox().guards()
    failed = [plugin for plugin in catalog.plugins if _failed(plugin)]
    if as_json:
        print(json.dumps(_as_json(catalog, found, guards), indent=2, ensure_ascii=False))
    else:
        _show(catalog, found, guards, failed)
    return 1 if failed else 0


def _failed(plugin: Plugin) -> bool:
    return bool(plugin.error) and not plugin.error.startswith(ENVIRONMENT)


def _python() -> dict[str, str]:
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "platform": platform.platform(),
    }


def _as_json(catalog: Catalog, found: tuple[Extra, ...], guards: tuple[Guard, ...]) -> dict[str, Any]:
    return {
        "evolteacher": __version__,
        "python": _python(),
        "extras": {
            extra.name: {
                "installed": extra.installed,
                "packages": {package.name: package.version or None for package in extra.packages},
                "problems": list(extra.problems),
            }
            for extra in found
        },
        "plugins": [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "loaded": not plugin.error,
                "error": plugin.error or None,
            }
            for plugin in catalog.plugins
        ],
        "sandbox": [
            {"guard": guard.name, "stops": guard.stops, "active": guard.active, "why_not": guard.why or None}
            for guard in guards
        ],
    }


def _show(catalog: Catalog, found: tuple[Extra, ...], guards: tuple[Guard, ...], failed: list[Plugin]) -> None:
    python = _python()
    emit(
        Text.assemble(("evolteacher", "bold"), f" {__version__}"),
        Text(f"  {python['implementation']} {python['version']}, {plain(python['executable'])}"),
        Text(f"  {plain(python['platform'])}"),
        Text(),
    )
    rows = [(extra.name, "installed" if extra.installed else "no", _missing(extra)) for extra in found]
    _section("extras", rows)
    if any(not extra.installed for extra in found):
        emit(Text("  `pip install 'evolteacher[NAME]'` installs one."), Text())
    left_out = [plugin for plugin in catalog.plugins if plugin.error and plugin not in failed]
    rows = [(plugin.name, "failed", f"{plugin.distribution} {plugin.version}: {plugin.error}") for plugin in failed]
    rows += [(plugin.name, "left out", plugin.error) for plugin in left_out]
    loaded = sum(not plugin.error for plugin in catalog.plugins)
    _section(f"plugins: {loaded:,} loaded, {len(failed)} failed", rows)
    rows = [(guard.name, "on" if guard.active else "OFF", _words(guard)) for guard in guards]
    off = sum(not guard.active for guard in guards)
    _section(f"sandbox: {count(len(guards) - off, 'guard')} on, {off} off", rows)
    emit(Text("docs/sandbox.md says what each stops, and what none of them does."))


def _missing(extra: Extra) -> str:
    whole = all(not package.version for package in extra.packages)
    return "" if extra.installed or (whole and len(extra.packages) > 3) else "; ".join(extra.problems)


def _words(guard: Guard) -> str:
    return guard.stops if guard.active else f"does not stop: {guard.stops} ({guard.why})"


def _section(title: str, rows: list[tuple[str, str, str]]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=16)
    table.add_column(no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    for name, state, words in rows:
        colour = {"OFF": "yellow", "failed": "red", "no": "dim"}.get(state, "")
        table.add_row(f"  {plain(name)}", Text(state, colour), Text(plain(words)))
    emit(Text(title, "bold"), table, Text())
