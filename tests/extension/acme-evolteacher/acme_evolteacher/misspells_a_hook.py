"""A plugin with a slip of the pen."""

import evolteacher as et


@et.hookimpl
def register_operator() -> list[type[et.Operator]]:
    """The hook is called register_operators."""
    return []
