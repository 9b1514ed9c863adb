"""What the hub's client says while it tries again, in one line: else it is two a try, for half a minute."""

from __future__ import annotations

import logging

from evolteacher.cli.terminal import note

_LOGGER = "huggingface_hub.utils._http"

_TRIES_AGAIN = (" thrown while requesting ", "Retrying in ")


class _OneLine(logging.Filter):
    """Takes the client's remarks about further tries out, and says for the first what can be done."""

    def __init__(self, said: bool) -> None:
        super().__init__()
        self.said = said

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a remark of the client's is shown as it is."""
        text = record.getMessage()
        if not any(words in text for words in _TRIES_AGAIN):
            return True
        if not self.said:
            self.said = True
            note(
                "the hub is not reached, which is tried for about half a minute. HF_HUB_OFFLINE=1 takes what was "
                "fetched before at once; a model's folder (--set train.model=FOLDER) or a dataset's file needs no hub"
            )
        return False


def say_once(*, quiet: bool = False) -> None:
    """Have this process say in one line that the hub is not reached; what else its client says stays.

    Args:
        quiet: not even in that one.
    """
    logger = logging.getLogger(_LOGGER)
    for before in [each for each in logger.filters if isinstance(each, _OneLine)]:
        logger.removeFilter(before)
    logger.addFilter(_OneLine(said=quiet))
