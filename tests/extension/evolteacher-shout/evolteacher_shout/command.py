"""``evolteacher shout``: imported only when it is typed."""

import typer


def shout(text: str, times: int = typer.Option(1, help="How often.")) -> None:
    """Say something loudly."""
    for _ in range(times):
        typer.echo(text.upper() + "!")
