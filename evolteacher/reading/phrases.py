"""The phrases by which :mod:`evolteacher.reading` tells a rewritten task from the talk around it.

Each was seen in a recorded answer, or is a near relative of one that was. None can match more than a bounded stretch
again and again, so that reading stays linear.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["lead", "given", "rewritten", "after"]
"""What a stretch of an answer holds: what comes before any marker, the given task, the rewritten one, anything else."""

_NEW = (
    r"(?:(?:a (?:bit|little) |slightly |even |increasingly )?"
    r"(?:re-?written|new|revised|updated|modified|harder|tougher|evolved|improved|enhanced|refined|adjusted|challenging"
    r"|more (?:difficult|challenging|complex|advanced)))"
)
_OLD = r"(?:given|original|old|previous|initial|current|source|existing)"
_TASK = (
    r"(?:(?:programming|coding|code|test) )?"
    r"(?:task|test|prompt|question|problem|instruction|exercise|challenge|version)"
    r"(?: (?:description|statement|text))?"
)
_SOLVED = (
    r"(?:solutions?|answers?|explanations?|implementations?|responses?|reasoning|rationale|how it works"
    r"|(?:key )?changes(?: made)?|what (?:has )?changed|(?:sample|example|solution|python|modified|updated) code"
    r"|(?:sample|example|suggested|possible|proposed|complete|full|python) (?:solution|answer|implementation))"
)
_ABOUT_TASK = rf"(?: (?:of|for|to) (?:the |this )?(?:{_NEW} |{_OLD} )?(?:{_TASK}|function|code|solution))?"
TITLES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("rewritten", re.compile(rf"(?:the )?{_NEW} (?:{_NEW} )?{_TASK}", re.I)),
    ("given", re.compile(rf"(?:the )?{_OLD} {_TASK}", re.I)),
    ("after", re.compile(rf"(?:the )?(?:(?:{_NEW}|{_OLD}) )?(?:{_TASK} )?{_SOLVED}(?: steps)?{_ABOUT_TASK}", re.I)),
)
LABEL = re.compile(
    rf"(?:the )?(?:task|question|problem|instruction|prompt|test)(?: description| statement)?|{_NEW}", re.I
)
TAGS: tuple[tuple[Kind, str], ...] = (
    ("rewritten", rf"<-?{_NEW}[ _-](?:{_TASK})>"),
    ("given", rf"<{_OLD}[ _-](?:{_TASK})>"),
    (
        "after",
        rf"<(?:/|/?end[ _-])(?:{_NEW}|{_OLD})[ _-](?:{_TASK})>"
        rf"|</?(?:answer|solution|explanation|response|easy_task)>|</?(?:{_NEW}|{_OLD})_(?:code|solution|function|answer)>",
    ),
)
FENCE = re.compile(r"[ \t]{0,8}(`{3,}+|~{3,}+)([^`]*+)$")
DRESS = (("**", "**"), ("__", "__"), ("[", "]"))
QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I)


GREETING = _any(r"(?:certainly|sure|of course|absolutely|okay|ok|great|understood|alright|got it)[!,.:]\s*")
CHATTER = _any(
    r"(?:now,? )?let's (?!say|assume|suppose|consider|imagine)|(?:now,? )?let us ",
    r"i(?:'ll| will|'ve| have) (?:\w+ )?(?:re-?writ|ma[dk]e|modif|chang|creat|provid|add)",
    rf"(?:here(?:'s| is| are)|below is|this is|the following is|now,)[^\n]{{0,120}}?\b{_NEW}\b",
    rf"here(?:'s| is) (?:the|an?|another) (?:different |possible )?{_TASK}[^\n]{{0,60}}:",
    rf"the {_NEW} (?:{_TASK}) is\b|here (?:you go|it is)\b",
    r"to (?:make|increase|rewrite|turn)\b[^\n]{0,80}?\b(?:harder|difficult|challenging|complex|task|difficulty)\b",
    r"re-?writing the\b|how to make it harder|what to change",
)
ECHO = _any(
    r"(?:please )?(?:go back and )?(?:write|make|repeat|re-?write|change|modify|create|take|state|keep|solve|explain) "
    rf"(?:an? |the |this )?(?:{_NEW}|given|original) (?:[\w#+]+ )?(?:task|test|prompt|problem|question|instruction)\b",
    rf"(?:re-?write|turn|transform)\b[^.\n]{{0,60}}? (?:as|into) an? {_NEW} (?:task|problem|question)\b",
    r"[^.\n]{0,400}?\bthe (?:given|original) (?:task|test|prompt)\b|no solution\b",
)
REFUSAL = _any(
    r"i'?m sorry|i am sorry|sorry,|i apologi[sz]e|as an ai|i can(?:no|')t (?:assist|help)"
    r"|(?:could you )?please provide (?:the|your|more|me)\b",
    r"please provide [^.\n]{0,160}(?:you (?:would|want)|the task)",
)
ANSWERED = _any(
    r"to (?:solve|convert|generate|fix|implement|achieve|accomplish|answer|create|change|modify|swap|refactor|print"
    r"|address|resolve|match|compute|find)\b[^.\n]{0,200}?\b(?:you|we|i)(?:'ll| can| could| need| should| will)\b",
    r"[^.\n]{0,60}\byou can (?:achieve|solve|do) (?:this|that|it)\b|you can use\b",
    r"the (?:time|space) complexity of [^.\n]{0,60} is\b|(?:as an? [^,\n]{0,30}, )?i can help\b",
    r"the (?:bug|error|issue) (?:is|in)\b|there(?:'s| is) an? (?:\w+ )?(?:error|bug)\b",
)
SOLVING = _any(
    r"here(?:'s| is| are)\b(?! an example of (?:the|a|its|what|how (?:the|it))\b)[^\n]{0,80}?"
    r"\b(?:solution|implementation|function|program|script|answer|version|way to|how (?:you|to|it)|code)\b",
    rf"(?:this|the) {_NEW} {_TASK} (?:is|was|has|requires|involves|asks|now|will|adds|introduces|aims|takes)\b",
    r"this (?:task|problem|version|change|modification|solution|implementation|approach)"
    r" (?:adds|introduces|involves|requires|uses|is (?:now|more|harder|designed|a bit|slightly))\b",
    rf"in this (?:{_NEW} )?(?:version|implementation|solution)\b|to solve this\b|i hope\b",
    r"example of the \w|(?:an )?example (?:of )?(?:the |a )?(?:\w+ )?(?:implementation|solution|code)\b",
    r"to \w+[^.\n]{0,120}?\b(?:you|we) can (?:use|follow|modify|implement)\b",
    r"this task can be made\b|(?:please )?note that this (?:solution|implementation|code)\b",
    rf"(?:please )?note(?: that|:)? the (?:{_NEW}|{_OLD}) (?:{_TASK}|code|function|query|solution)\b",
    r"please provide the (?:given|code)\b",
)
TALK = _any(
    rf"(?<=[.!?]) +(?:the|this) {_NEW} {_TASK} (?:is|requires|asks|involves|takes|should)\b",
    r"(?<=[.!?]) +this task is (?:now |a bit )?(?:more|harder)\b",
)
ANNOUNCEMENT = _any(rf"(?:now, )?here(?:'s| is) (?:the|an?) {_NEW} {_TASK}[^.\n]{{0,60}}:")
EXAMPLE = _any(r"[\W_]*(?:sample |example |expected )?(?:input|output|example|result|returns?)s?(?: \w+)?[*_ ]*:")
SHOWS_CODE = _any(rf"here(?:'s| is) the (?:{_OLD} |buggy |python )*(?:code|function|program|script)\b")
EXPLAINS_CODE = _any(
    r"(?:this|the|in this|in the) (?:above |given |provided )?"
    r"(?:code|function|program|script|query|template|snippet|mistake|error|bug)\b"
    r"(?! (?:should|must|needs|has to))"
)
ATTEMPT = _any(
    r"(?!.*\b(?:correct|corrected|fixed)\b).*"
    r"\b(?:attempt|wrong|someone|colleague|mistakes?|incorrect|erroneous|faulty|buggy|flawed|misleading)\b"
)
ATTEMPTED = _any(r"\battempt\b[^.\n]{0,20}\b(?:wrong|incorrect|mistake)")
ANNOUNCED = _any(r"\b(?:attempt|may be wrong|might be wrong)\b|\bhere(?:'s| is) (?:the|an?)\b")
POINTS_AT_CODE = _any(
    r"\b(?:following (?!(?:\w+ )?(?:criteria|requirements|constraints|conditions|steps|rules|features|operations"
    r"|methods|properties|specifications|functionality)\b)|below|code above|(?:the|two|any) bugs?"
    r"|(?:this|given|provided) (?:\w+ )?(?:code|snippet|loop|array|dictionary|list|table))\b"
)
# Code and fragments are told by their case too.
PROGRAM = re.compile(
    r"<(?:!DOCTYPE|html|head|body|table|div|form|script|style)\b|<\?php|#include|import \w|from \w+ import|def \w+\("
    r"|(?:async )?function \w+\(|public (?:class|static)|(?:fn|fun|func) \w+\(|package \w+"
    r"|(?:int|void|char|float|double) \w+[,;(]|(?:for|while) \("
)
CODE = re.compile(
    rf"{PROGRAM.pattern}|[{{\[(]\s*['\"\d{{\[]|[{{}}]|<[!/a-z]|#!/|//|/\*|\^|class \w+\s*[(:]"
    r"|(?:const|let|var) \w+ =|[a-z_]\w* = |SELECT |printf\(|print\(|console\.|@\w+|\.\w+ \{|using \w+;"
)
FRAGMENT = re.compile(r"(?:and|or|with|but|of)\b")
