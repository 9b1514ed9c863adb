"""A parcel to a repository of the Hugging Face hub, or of a mirror of it that ``HF_ENDPOINT`` names.

Only ``HF_TOKEN`` gives a token; it is never written, and taken out of what errors say. Files that the repository holds
already are not sent again, and large ones that arrived before a push was cut stay there: to push again goes on.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from evolteacher import __version__
from evolteacher.errors import EvolteacherError, HubError, MissingExtra, NoSuchRepository, NotAuthorised, UsageError
from evolteacher.publishing.leaks import hub_token
from evolteacher.publishing.parcel import Parcel
from evolteacher.publishing.standing import Standing, standing
from evolteacher.secrets import hide

ENDPOINT = "https://huggingface.co"

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_BRANCH = re.compile(r"[A-Za-z0-9_][\w./-]{0,200}", re.ASCII)


@dataclass(frozen=True)
class Target:
    """Where a parcel goes.

    Attributes:
        name: ``owner/name``.
        public: whether everybody may see it.
        branch: that it goes onto, made where it is not there; the hub's own main branch when empty.
        message: of the commit; a plain one when empty.
    """

    name: str
    public: bool = False
    branch: str = ""
    message: str = ""

    def __post_init__(self) -> None:
        """Refuse what no hub has.

        Raises:
            UsageError: the name or the branch cannot be one.
        """
        if not _NAME.fullmatch(self.name) or ".." in self.name or "--" in self.name or self.name.endswith(".git"):
            raise UsageError(f"'{self.name}' names no repository: write owner/name, in letters, digits, '-', '_', '.'")
        if self.branch and (not _BRANCH.fullmatch(self.branch) or ".." in self.branch):
            raise UsageError(f"--branch {self.branch}: no branch can be called so")


@dataclass(frozen=True)
class Pushed:
    """What came of a push.

    Attributes:
        url: of the repository.
        commit: the one that is there now.
        made: whether the repository is new.
        changed: whether anything was to be sent.
        private: whether others cannot see it.
        standing: what became of the files that were there.
    """

    url: str
    commit: str
    made: bool
    changed: bool
    private: bool
    standing: Standing


def endpoint() -> str:
    """Return the hub's address: ``HF_ENDPOINT``, or the Hugging Face hub's."""
    return (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")


def shown_endpoint() -> str:
    """Return the hub's address as it is printed: without the name and password that a mirror's may hold."""
    scheme, slashes, rest = endpoint().partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def _userinfo() -> list[str]:
    """Return what of the hub's address nobody may see: ``name:password``, and the password alone."""
    told = endpoint().partition("://")[2].partition("/")[0].rpartition("@")[0]
    return [part for part in (told, told.partition(":")[2]) if part]


def push(parcel: Parcel, target: Target, *, note: Callable[[str], None] = lambda line: None) -> Pushed:
    """Upload a parcel as one commit; the repository, and the branch, are made where they are not there.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        NotAuthorised: there is no token, or it may not write there.
        NoSuchRepository: the branch, or the owner, is not there.
        UsageError: the repository is public, and nobody asked for that.
        HubError: the hub cannot be reached, or refuses.
    """
    api, token = _client()
    with _explained(target, token):
        return _push(api, parcel, target, note)


def look(parcel: Parcel, target: Target) -> Standing | None:
    """Return what a push would do to the files that are there; None where the repository is new. Nothing is changed.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        NotAuthorised: there is no token, or the hub does not take it.
        HubError: the hub cannot be reached, or refuses.
    """
    api, token = _client()
    from huggingface_hub.errors import RevisionNotFoundError

    with _explained(target, token):
        found = there = _there(api, parcel.kind, target)
        if found is None:
            return None
        if target.branch:
            with suppress(RevisionNotFoundError):  # a new branch begins as the main one is
                there = api.repo_info(target.name, repo_type=parcel.kind, revision=target.branch)
        return standing(api, target.name, parcel.kind, there.sha, parcel.files, public=not found.private)


def _client() -> tuple[Any, str]:
    """Return huggingface_hub's client, and the token that it sends."""
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtra("push", "hub") from None
    token = hub_token()
    if not token:
        raise NotAuthorised(
            "HF_TOKEN is not set: make a token that may write at "
            f"{shown_endpoint()}/settings/tokens and export HF_TOKEN=…; no other place is looked at"
        )
    if not (token.isascii() and token.isprintable()):  # clients repeat such a one in what they say
        raise NotAuthorised("HF_TOKEN is no token: there is something else in it than letters, digits and signs")
    _be_quiet()
    api = huggingface_hub.HfApi(endpoint(), token=token, library_name="evolteacher", library_version=__version__)
    return api, token


def _push(api: Any, parcel: Parcel, target: Target, note: Callable[[str], None]) -> Pushed:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    found = _there(api, parcel.kind, target)
    if found is not None and not found.private and not target.public:
        raise UsageError(
            f"{target.name} is there and public, and what is pushed would be, too: say --public, or take another name"
        )
    if found is None:
        api.create_repo(target.name, repo_type=parcel.kind, private=not target.public, exist_ok=True)
    elif found.private and target.public:
        note(f"{target.name} is there and stays private; its settings on the hub can make it public")
    there = found or api.repo_info(target.name, repo_type=parcel.kind)
    if not target.public and not there.private:
        raise HubError(f"{target.name}: the hub made it public although it was to be private; nothing was sent")
    if target.branch:
        api.create_branch(target.name, branch=target.branch, repo_type=parcel.kind, exist_ok=True)
    revision = target.branch or None
    old = api.repo_info(target.name, repo_type=parcel.kind, revision=revision).sha
    before = Standing()
    if found is not None:
        before = standing(api, target.name, parcel.kind, old, parcel.files, public=not found.private)
    done = api.create_commit(
        target.name,
        [
            *(CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file.path)) for file in parcel.files),
            *(CommitOperationDelete(path_in_repo=name, is_folder=False) for name in before.removed),
        ],
        commit_message=target.message or f"{parcel.title}, pushed by evolteacher {__version__}",
        repo_type=parcel.kind,
        revision=revision,
        parent_commit=old if before.removed else None,  # what is taken away is what was looked at
    )
    for line in before.lines(sent=True):
        note(line)
    folder = "datasets/" if parcel.kind == "dataset" else ""
    url = f"{shown_endpoint()}/{folder}{target.name}" + (f"/tree/{target.branch}" if target.branch else "")
    return Pushed(url, done.oid, found is None, done.oid != old, bool(there.private), before)


def _there(api: Any, kind: str, target: Target) -> Any:
    """Return what the hub says of the repository; None where it shows none of that name."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return api.repo_info(target.name, repo_type=kind)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError as error:
        if error.response is not None and error.response.status_code == 401 and not _names_repository(error):
            raise
        return None


def _names_repository(error: Any) -> bool:
    """Whether a 401 is about the repository, which hubs also answer for those that are not shown, and not the token."""
    return bool(error.response.headers.get("X-Error-Code") == "RepoNotFound")


@contextmanager
def _explained(target: Target, token: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into our errors; the token is in none of them."""
    from huggingface_hub import errors

    try:
        yield
    except EvolteacherError:
        raise
    except Exception as error:
        said = " ".join(hide(str(error), [token, *_userinfo()]).split())[:400]
        status = _status(error)
        if status in (401, 403):
            raise NotAuthorised(
                f"{target.name}: the hub does not let this HF_TOKEN write there (HTTP {status}): it needs write access "
                f"to '{target.name.partition('/')[0]}'; see {shown_endpoint()}/settings/tokens. {said}"
            ) from None
        if status == 404 or isinstance(error, errors.RevisionNotFoundError):
            raise NoSuchRepository(
                f"{target.name}: the hub has no such owner, repository or branch, or does not show it to this token: "
                f"check the name and --branch. {said}"
            ) from None
        if status == 429:
            raise HubError(f"{target.name}: the hub asks for a slower pace: push again in a while. {said}") from None
        if status is not None:
            again = "push again: what arrived is not sent twice" if status >= 500 else "nothing was committed"
            raise HubError(f"{target.name}: the hub refused (HTTP {status}); {again}. {said}") from None
        if isinstance(error, errors.OfflineModeIsEnabled):
            raise HubError("HF_HUB_OFFLINE is set, so nothing can be pushed: unset it") from None
        if isinstance(error, errors.HFValidationError):
            raise UsageError(f"{target.name}: the hub takes no such name: {said}") from None
        if _of_the_network(error):
            raise HubError(
                f"{shown_endpoint()} cannot be reached ({type(error).__name__}: {said}): check the network, "
                "HF_ENDPOINT and any proxy, and push again: what arrived is not sent twice"
            ) from None
        raise HubError(f"{target.name}: the push failed: {type(error).__name__}: {said}") from None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error, or what caused it, is about."""
    for each in _chain(error):
        status = getattr(getattr(each, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _of_the_network(error: BaseException) -> bool:
    import httpx

    return any(isinstance(each, httpx.TransportError | ConnectionError | TimeoutError) for each in _chain(error))


def _be_quiet() -> None:
    """Have the hub's client show its bars on a terminal only, and say nothing besides: we do."""
    from huggingface_hub.utils import disable_progress_bars, logging

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()
