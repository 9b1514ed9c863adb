"""evolteacher evolves instruction datasets with LLMs (Evol-Instruct).

What is imported here is public and light; heavy packages are imported inside the functions that need them.
"""

from evolteacher.backend import Backend, Workload
from evolteacher.component import Component, free
from evolteacher.filter import DatasetFilter, Filter, InstructionFilter, Place, ReplyFilter, ResponseFilter, TextFilter
from evolteacher.hookspecs import CommandTable, hookimpl
from evolteacher.messages import Message, Prompt, Reply, Request, Role, Sampling, Usage
from evolteacher.operator import Ask, Operator
from evolteacher.record import Evolution, Instruction, Lineage, Record, Seed, Step, Verdict
from evolteacher.seeds import Row, SeedReader

__version__ = "0.1.0"

__all__ = [
    "Ask",
    "Backend",
    "CommandTable",
    "Component",
    "DatasetFilter",
    "Evolution",
    "Filter",
    "Instruction",
    "InstructionFilter",
    "Lineage",
    "Message",
    "Operator",
    "Place",
    "Prompt",
    "Record",
    "Reply",
    "ReplyFilter",
    "Request",
    "ResponseFilter",
    "Role",
    "Row",
    "Sampling",
    "Seed",
    "SeedReader",
    "Step",
    "TextFilter",
    "Usage",
    "Verdict",
    "Workload",
    "__version__",
    "free",
    "hookimpl",
]
