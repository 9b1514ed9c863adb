"""Checks of what a backend says of itself: options, identity, account, price."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from evolteacher.backend import Backend
from evolteacher.money import Price
from evolteacher.testing.harness import Session, describe
from evolteacher.testing.promises import Promises


class DescriptionChecks(Promises):
    """Checks of what a backend says of itself."""

    def test_options_are_plain_values(self, backend: Backend) -> None:
        """options() are JSON values from which the same backend can be made, since the locked recipe holds them."""
        options = backend.options()
        try:
            again = type(backend).model_validate(json.loads(json.dumps(options)))
            same = again.model_dump() == backend.model_dump()
        except (TypeError, ValueError) as error:
            self.violated(f"of the options {options} came {describe(error)}")
        if not same:
            self.violated(f"of the options {options} came a backend with {again.options()}")

    def test_options_are_frozen(self, backend: Backend) -> None:
        """A backend's options never change: what it opens it keeps in private attributes."""
        for name in type(backend).model_fields:
            value = getattr(backend, name)
            try:
                setattr(backend, name, value)
            except (ValidationError, AttributeError):
                continue
            self.violated(f"the option '{name}' can be set")

    def test_unknown_options_are_refused(self, backend: Backend) -> None:
        """An option that the backend does not have is an error: it may be a slip of the pen."""
        try:
            type(backend).model_validate({**backend.options(), "no_such_option": 1})
        except ValueError:
            return
        self.violated("it was made with {'no_such_option': 1}")

    def test_identity_is_a_lasting_text(self, backend: Backend) -> None:
        """identity() is a text, the same each time and for each backend with the same options."""
        first, second, other = backend.identity(), backend.identity(), alike(backend).identity()
        if not _is_text(first):
            self.violated(f"{first!r}")
        if not first == second == other:
            self.violated(f"{first!r}, then {second!r}, and of another one with the same options {other!r}")

    def test_identity_is_the_same_once_open(self, _opened: Session) -> None:
        """identity() does not change when the backend is opened, since stored replies are looked up by it before."""
        if not _lasts(_opened.backend):
            self.not_covered("identity() differs between backends with the same options")
        closed = alike(_opened.backend).identity()
        _opened.ask(self.request())
        if _opened.backend.identity() != closed:
            self.violated(f"before {closed!r}, and once open {_opened.backend.identity()!r}")

    def test_identity_knows_no_free_option(self, backend: Backend) -> None:
        """identity() does not hang on options declared with evolteacher.free: they may change when a run is resumed."""
        for name in backend.free_options():
            if not _lasts(backend):
                self.not_covered("identity() differs between backends with the same options")
            changed = backend.model_copy(update={name: _other(getattr(backend, name))})
            try:
                identity = changed.identity()
            except Exception as error:
                self.violated(f"with another '{name}' it raised {describe(error)}")
            if identity != backend.identity():
                self.violated(
                    f"with '{name}' {getattr(changed, name)!r} it was {identity!r}, not {backend.identity()!r}"
                )

    def test_account_is_a_lasting_text(self, backend: Backend) -> None:
        """account() is a text, the same each time and for each backend with the same options; limits hang on it."""
        first, second, other = backend.account(), backend.account(), alike(backend).account()
        if not _is_text(first) or not first == second == other:
            self.violated(f"{first!r}, then {second!r}, and of another one with the same options {other!r}")

    def test_price_is_known_before_opening(self, backend: Backend) -> None:
        """price() is a Price or None, and is asked before the backend is opened."""
        try:
            price = backend.price()
        except Exception as error:
            self.violated(f"it raised {describe(error)}")
        if price is not None and not isinstance(price, Price):
            self.violated(f"it returned {price!r}")

    def test_secrets_are_texts(self, _opened: Session) -> None:
        """secrets() is a tuple of texts once the backend is open; the core hides them in all that it writes."""
        found: Any = _opened.backend.secrets()
        if not isinstance(found, tuple) or not all(_is_text(secret) for secret in found):
            self.violated(f"it returned {type(found).__name__} of {', '.join(type(each).__name__ for each in found)}")


def alike(backend: Backend) -> Backend:
    """Return another backend with the same options."""
    return type(backend).model_validate(backend.model_dump(by_alias=True))


def _lasts(backend: Backend) -> bool:
    """Whether two backends with the same options have the same identity."""
    return alike(backend).identity() == alike(backend).identity()


def _is_text(value: Any) -> bool:
    """Whether this is a text that can be stored."""
    try:
        return isinstance(value, str) and bool(value.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _other(value: Any) -> Any:
    """Return another value, of the same type where that is easy; the copy that gets it is never opened."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value or ''}-changed"
