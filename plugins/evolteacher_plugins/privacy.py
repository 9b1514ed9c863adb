"""Personal data and credentials in a text. No reason repeats what was found."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Literal

from pydantic import Field

import evolteacher as et
from evolteacher.errors import MissingExtra

Kind = Literal["email", "phone", "ip", "card", "iban", "ssn"]

_NAMES: dict[Kind, str] = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "ip": "a public IP address",
    "iban": "a bank account's number (IBAN)",
    "card": "a payment card's number",
    "ssn": "a US social security number",
}

_EMAIL = re.compile(r"(?<![\w.+%-])([\w+%-][\w.+%-]{0,63})@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})(?![\w@])")
_IP = re.compile(r"(?<![\w.:-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_CARD = re.compile(
    r"(?<![\w.-])(?<!\d )[3-6](?:\d{12,18}|\d{3}(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?|\d{3}[ -]\d{6}[ -]\d{4,5})"
    r"(?![\w-]|\.\d| \d)"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)")
_SSN = re.compile(r"(?<![\w.-])\d{3}-\d{2}-\d{4}(?![\w-])")
_US_PHONE = re.compile(r"(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}")
_PHONE = re.compile(r"(?<![\w.-])(?:\+|\()?\d(?:[ ().-]{0,2}\d){6,14}(?!\w)")

_MADE_UP_DOMAIN = re.compile(
    r"(?:^|\.)(?:(?:[a-z0-9-]*example[a-z0-9-]*|(?:my|your|some|any|the)?-?(?:domain|company|e?mail|site|website"
    r"|server|host|business|org|organization|school|university|work|corp)|(?:my|your)[a-z]+|test\w*|sample\w*|demo"
    r"|acme|foo|bar|baz|abc|xyz|asdf|fake\w*|dummy\w*|placeholder|localhost|anything|subdomain)(?:\.[a-z]{2,10}){1,2}"
    r"|test|example|invalid|localhost|local)$"
)
_MADE_UP_NAME = re.compile(
    r"(?:your|my|some|the)?[._+-]?(?:user|username|name|e?mail|example|test|tester|sample|demo|foo|bar|someone|somebody"
    r"|anyone|person|me|you|abc|xyz|john|jane|joe|alice|bob|admin|info|support|contact|sender|recipient|receiver|noreply"
    r"|no-reply|from|to|firstname|lastname|first|last|address|git|account|customer|hello|help|sales|student|employee)"
    r"(?:[._+-]?(?:doe|smith|name|user|mail|example|test|address|bloggs|lastname|last))?\d{0,4}",
    re.IGNORECASE,
)
"""Names that stand for anybody."""

_WELL_KNOWN_IPS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "1.2.3.4", "4.3.2.1", "5.6.7.8"})
_VERSION = re.compile(r"(?:\bv|\bver|version|release|[<>=~^]=)[\s:=\"']*$", re.IGNORECASE)
_TEST_CARDS = frozenset(
    """
    4111111111111111 4242424242424242 4012888888881881 4222222222222 4000056655665556 5555555555554444 5105105105105100
    2223003122003222 5200828282828210 378282246310005 371449635398431 6011111111111117 6011000990139424 30569309025904
    38520000023237 3530111333300000 3566002020360505 4539578763621486 4539148803436467 4532015112830366
    5425233430109903 4111111111111 49927398716 4556737586899855
    """.split()
)
"""The numbers that payment providers publish for tests, and those that explanations of Luhn's check use."""
_EXAMPLE_IBANS = frozenset(
    """
    GB82WEST12345698765432 GB29NWBK60161331926819 GB33BUKB20201555555555 DE89370400440532013000 DE75512108001245126199
    FR1420041010050500013M02606 FR7630006000011234567890189 NL91ABNA0417164300 ES9121000418450200051332
    IT60X0542811101000000123456 CH9300762011623852957 BE68539007547034 AT611904300234573201 BE71096123456769
    """.split()
)
"""Those of the standard's registry and of its explanations."""


class Pii(et.TextFilter, name="pii"):
    """Reject a text that holds somebody's personal data.

    Source: the checks are those of libraries: phonenumbers (Google's libphonenumber) for telephone numbers,
    python-stdnum for the check digits of cards, IBANs and social security numbers; addresses are judged by RFC 2606,
    RFC 5737 and the like. What examples are made of passes: ``user@example.com`` and names and domains that stand for
    anybody, private and well-known IP addresses, version numbers, 555 and other numbers reserved for fiction, test
    cards. A reason names kind and line, and never the datum. Names and postal addresses of persons are not looked for:
    that takes a model. Needs the extra ``filters``.
    """

    kinds: tuple[Kind, ...] = Field(tuple(_NAMES), min_length=1, description="What is looked for.")
    region: str | None = Field(
        "US",
        pattern="^[A-Z]{2}$",
        description="Country (ISO 3166) whose national telephone numbers are known; none: those with + alone.",
    )
    allow: tuple[str, ...] = Field(
        (), description="Addresses and numbers, and domains of e-mail addresses, that may appear."
    )

    def require(self) -> None:
        """Look for phonenumbers and python-stdnum."""
        MissingExtra.unless(["phonenumbers", "stdnum"], "filter 'pii'", "filters")

    def reject(self, text: str) -> str | None:
        """Look for each kind in turn.

        Raises:
            MissingExtra: phonenumbers or python-stdnum is not installed.
        """
        allowed = {_bare(entry) for entry in self.allow}
        for kind in self.kinds:
            for start, found in self._found(kind, text):
                if _bare(found) in allowed or (kind == "email" and _bare(found.rpartition("@")[2]) in allowed):
                    continue
                return f"it holds {_NAMES[kind]}, on line {_line(text, start)}"
        return None

    def _found(self, kind: Kind, text: str) -> Iterable[tuple[int, str]]:
        if kind == "phone":
            return _phones(text, self.region)
        pattern, real = _CHECKS[kind]
        return ((match.start(), match.group()) for match in pattern.finditer(text) if real(match))


def _real_email(match: re.Match[str]) -> bool:
    name, domain = match[1], match[2].casefold()
    ending = domain.rpartition(".")[2]
    if not ending.isalpha() or len(ending) < 2 or "." not in domain:
        return False
    return not (_MADE_UP_DOMAIN.search(domain) or _MADE_UP_NAME.fullmatch(name) or len(set(name)) < 3)


def _real_ip(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.IPv4Address(match.group())
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or match.group() in _WELL_KNOWN_IPS:
        return False
    return not _VERSION.search(match.string, max(0, match.start() - 20), match.start())


def _real_card(match: re.Match[str]) -> bool:
    digits = _digits(match.group())
    if digits in _TEST_CARDS or len(set(digits)) < 4 or digits[:10] in "12345678901234567890":
        return False
    return bool(_stdnum().luhn.is_valid(digits))


def _real_iban(match: re.Match[str]) -> bool:
    number = match.group().replace(" ", "")
    return number not in _EXAMPLE_IBANS and bool(_stdnum().iban.is_valid(number))


def _real_ssn(match: re.Match[str]) -> bool:
    digits = _digits(match.group())
    if digits in "1234567890" or digits in "9876543210" or len(set(digits)) < 4:
        return False
    return bool(_stdnum().us.ssn.is_valid(match.group()))


_CHECKS: dict[Kind, tuple[re.Pattern[str], Callable[[re.Match[str]], bool]]] = {
    "email": (_EMAIL, _real_email),
    "ip": (_IP, _real_ip),
    "card": (_CARD, _real_card),
    "iban": (_IBAN, _real_iban),
    "ssn": (_SSN, _real_ssn),
}


def _phones(text: str, region: str | None) -> Iterable[tuple[int, str]]:
    """Yield the telephone numbers that somebody may have; of what only looks like one, the first 200."""
    for tried, match in enumerate(_PHONE.finditer(text)):
        if tried == 200:
            return
        raw = match.group()
        if raw[0] == "+" or (region and _written_as_phone(raw, region)):
            found = next(iter(_phonenumbers().PhoneNumberMatcher(raw, region, max_tries=3)), None)
            if found is not None and not _fictional(found.number):
                yield match.start(), raw


def _written_as_phone(raw: str, region: str) -> bool:
    """Whether a national number is grouped as people write them, and not as dates and lists of numbers are."""
    if region == "US":
        return _US_PHONE.fullmatch(raw) is not None
    groups = re.findall(r"\d+", raw)
    sizes = [len(group) for group in groups]
    return 1 < len(sizes) < 6 and min(sizes) > 1 and max(sizes) > 2 and sizes[:3] != [4, 2, 2]


def _fictional(number: Any) -> bool:
    national = str(number.national_number)
    if national in "12345678901234567890" or national in "98765432109876543210" or len(set(national)) < 4:
        return True
    if "1234567" in national or "7654321" in national:
        return True
    if number.country_code == 1:
        return national[3:6] == "555" or national[:3] == "555" or national[3:] == "4567890"
    return number.country_code == 44 and national.startswith(("1632960", "2079460", "7700900"))


@cache
def _phonenumbers() -> Any:
    try:
        import phonenumbers
    except ImportError:
        raise MissingExtra("filter 'pii'", "filters") from None
    return phonenumbers


@cache
def _stdnum() -> Any:
    try:
        import stdnum
        import stdnum.iban
        import stdnum.luhn
        import stdnum.us.ssn
    except ImportError:
        raise MissingExtra("filter 'pii'", "filters") from None
    return stdnum


_WIDTH = 500
"""A text is looked at in pieces of twice this, each sharing half with the one before: a pattern's time then grows no
faster than the text, and a credential of up to this length is seen whole."""

_DETECTORS = {
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "basic_auth": "BasicAuthDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "private_key": "PrivateKeyDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
"""Those of detect-secrets' detectors that know a credential by its form."""

_MADE_UP_SECRET = re.compile(
    r"example|sample|dummy|fake|your|my[_-]?(?:key|token|secret)|xxxx|\*{3}|\.{3}|<|\{|\$|placeholder|replace|change"
    r"|1234567|abcdef|01234",
    re.IGNORECASE,
)
_EVERYBODYS_PASSWORD = re.compile(
    r"\W*(?:(?:my|your|db|user)?[_-]?(?:p(?:ass)?w(?:or)?d|pass|passwd|secret|token|user(?:name)?|admin|root|guest|test"
    r"|postgres|mysql|mongo|redis|api[_-]?key|key|port)\d{0,4}|\w{1,4}|\d+)\W*",
    re.IGNORECASE,
)
_KEY_BODY = re.compile(r"[\"'\s\\nr+]*(?:(?:Proc-Type|DEK-Info):[^\n]*\s+)*[A-Za-z0-9+/]{40}")


class Secrets(et.TextFilter, name="secrets"):
    """Reject a text that holds a credential: a cloud or API key, a token, a private key, a password in a URL.

    Source: the detectors of detect-secrets (Yelp) that know a credential by its form; those that guess by entropy or by
    a variable's name are left out, since example code is full of ``password = "…"``. What is plainly made up passes:
    ``AKIA…EXAMPLE``, ``sk-xxxx``, ``your-token``, ``postgres://user:password@localhost``. A reason names kind, length
    and line, and never the credential. Needs the extra ``filters``.
    """

    allow: tuple[str, ...] = Field(
        (), description="Parts of credentials that may appear, such as those of your own test accounts."
    )

    def require(self) -> None:
        """Look for detect-secrets."""
        MissingExtra.unless(["detect_secrets"], "filter 'secrets'", "filters")

    def reject(self, text: str) -> str | None:
        """Ask each detector about each piece.

        Raises:
            MissingExtra: detect-secrets is not installed.
        """
        for start in range(0, max(1, len(text) - _WIDTH), _WIDTH):
            piece = text[start : start + 2 * _WIDTH]
            for detector in _detectors():
                for secret in _credentials(detector, piece):
                    kind = detector.secret_type
                    if self._real(kind, secret, text, start):
                        size = "" if "PRIVATE KEY" in secret else f" of {len(secret)} characters"
                        line = _line(text, text.find(secret, start))
                        return f"it holds a credential ({kind}){size}, on line {line}"
        return None

    def _real(self, kind: str, secret: str, text: str, offset: int) -> bool:
        if any(entry and entry in secret for entry in self.allow):
            return False
        if kind == "Private Key":
            end = text.find("-----", text.find(secret, offset) + len(secret))
            return end >= 0 and _KEY_BODY.match(text, end + 5) is not None
        if kind.startswith("Basic Auth"):
            return not (_MADE_UP_SECRET.search(secret) or _EVERYBODYS_PASSWORD.fullmatch(secret))
        return not _MADE_UP_SECRET.search(secret) and len(set(secret)) > 8


def _credentials(detector: Any, text: str) -> Iterable[str]:
    """Yield what a detector finds; of a pattern with a group it tells the group alone, so the whole is found again."""
    for secret in detector.analyze_string(text):
        if len(secret) >= 8 or detector.secret_type.startswith("Basic Auth"):
            yield secret
            continue
        for pattern in detector.denylist:
            yield from (match.group() for match in pattern.finditer(text))


@cache
def _detectors() -> tuple[Any, ...]:
    import importlib

    try:
        modules = {name: importlib.import_module(f"detect_secrets.plugins.{name}") for name in _DETECTORS}
    except ImportError:
        raise MissingExtra("filter 'secrets'", "filters") from None
    return tuple(getattr(module, _DETECTORS[name])() for name, module in modules.items())


def _digits(text: str) -> str:
    return "".join(char for char in text if char in "0123456789")


def _bare(text: str) -> str:
    return re.sub(r"[\s().-]", "", text).casefold().removeprefix("@")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [Pii, Secrets]
