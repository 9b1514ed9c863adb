"""An operator and a command whose names another plugin has, too."""

import evolteacher as et


class Shout(et.Operator, name="shout"):
    """Rewrite the task by a rule, and ask nobody."""

    async def evolve(self, parent: et.Instruction, ask: et.Ask) -> str:
        """Append to it."""
        return f"{parent.text} (Acme says so!)"


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """Operators."""
    return [Shout]


@et.hookimpl
def register_commands(cli: et.CommandTable) -> None:
    """Commands."""
    cli.add("acme-shout", "acme_evolteacher.imports_what_is_missing:shout", "A command whose code is broken.")
