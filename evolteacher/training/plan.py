"""What a training will come to, before it starts: nothing is fetched, and no weights are loaded."""

from __future__ import annotations

import math
from collections.abc import Callable

from evolteacher.catalog import Catalog
from evolteacher.training.estimate import Estimate, count_weights
from evolteacher.training.job import Training
from evolteacher.training.loading import bare_model, quiet
from evolteacher.training.preparation import estimate, has_accelerator, lora_config, prepare
from evolteacher.training.rows import read_rows


def plan_training(training: Training, catalog: Catalog, note: Callable[[str], None]) -> Estimate:
    """Say what a training comes to.

    Rows are tokenised for real. Where they are packed, their number is the least that the tokens allow.

    Args:
        training: what.
        catalog: where seed readers are looked for.
        note: told what was left out, a line at a time.

    Raises:
        UsageError: the data cannot be used.
        MissingExtra: what trains is not installed.
        BackendError: the model is neither in a folder nor in the hub's cache.
    """
    training.check_extra()
    section = training.train
    rows = read_rows(training.data, section.source, catalog)
    for line in rows.notes:
        note(line)
    prepared = prepare(training, rows, note, fetch=False)
    model = bare_model(section, fetch=False)
    adapter = lora_config(section)
    if adapter is not None:
        from peft import get_peft_model

        with quiet():
            model = get_peft_model(model, adapter)
    seen = len(prepared.learnt.rows)
    if section.sft.get("packing") and section.max_length:
        seen = math.ceil(prepared.learnt.tokens / section.max_length)
    accelerated = has_accelerator(section)
    return estimate(section, prepared, model.config, count_weights(model), seen, accelerated=accelerated)
