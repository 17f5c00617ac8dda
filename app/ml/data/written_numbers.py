"""Numbers as people write them: 1'234.50, $5, 12 %, and lists of numbers; the patterns are understood by Arrow, too."""

import re

MISSING_WORD = (
    r"(?i)^([+-]?nan|na|n/a|n\.a\.?|#n/a|#na|<na>|nat|null|<null>|\\n|none|nil|missing|unknown|undefined|\?+|\.{1,3}"
    r"|#(null|div/0|value|ref|num|name)[!?]"  # errors of spreadsheets
    "|-{1,3}|\u2013|\u2014)$"
)
"""What means a missing number or date, without the blanks around it."""
_MISSING_WORD = re.compile(MISSING_WORD)
GROUPED_BY_COMMAS = r"[1-9]\d{0,2}(,\d{2,3})*,\d{3}"  # lakhs and crores have two digits
GROUPED_BY_POINTS = r"[1-9]\d{0,2}(\.\d{3})+"

GROUP = "[ \u00a0\u2009\u202f'\u2019_]"  # between thousands: blanks of several widths, apostrophes, an underscore
MINUS = "[-+\u2212]"
CURRENCY = (
    r"((?:[A-Z]{1,2})?[$€£¥₹₽₩₺₪₫₴₦฿]"
    r"|CHF|EUR|USD|GBP|JPY|CNY|INR|AUD|CAD|NZD|HKD|SGD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|BRL|MXN|ZAR|KRW|TRY|ILS"
    r"|Fr\.|Rs\.?|kr\.?|zł|Kč)"
)
DIGITS = rf"(?:[1-9]\d{{0,2}}(?:{GROUP}\d{{3}})+(?:[.,]\d*)?|\d[\d.,]*(?:[eE][-+]?\d+)?|[.,]\d+)"
SPACE = "[\\s\u00a0\u2009\u202f]*"
WRITTEN = rf"(?:{MINUS}{SPACE})?(?:{CURRENCY}{SPACE})?{MINUS}?{DIGITS}(?:{SPACE}(?:%|{CURRENCY}))?"
IN_BRACKETS = rf"\((?:{CURRENCY}{SPACE})?{DIGITS}(?:{SPACE}(?:%|{CURRENCY}))?\)"  # negative, in accounts
MINUS_BEHIND = r"\d[\d.,]*[.,]\d+-"
AMOUNT = rf"^{SPACE}(?:{WRITTEN}|{IN_BRACKETS}|{MINUS_BEHIND}){SPACE}$"
SIGN = rf"(?:%|{CURRENCY})"
UNCOMMON = rf"(?:%|{CURRENCY}|\d{GROUP}\d|\)|\d-$)" + "|\u2212"

ITEM = r"([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?nan|NaN|None|null)"
BRACKETED = rf"^\s*[\[(]\s*({ITEM}(\s*,\s*|\s+))*({ITEM}\s*,?\s*)?[\])]\s*$"
MIN_BARE = 8  # numbers without brackets: fewer may be a telephone number
BARE = rf"^\s*{ITEM}((\s*[,;]\s*|\s+){ITEM}){{{MIN_BARE - 1},}}\s*$"
NO_VALUE = re.compile(r"nan|none|null", re.IGNORECASE)


def is_missing_word(text: str) -> bool:
    """Return whether a text, without blanks around it, means a missing value."""
    return _MISSING_WORD.match(text) is not None


def numbers_of_list(text: str) -> list[float]:
    """Return the numbers of a text that is a list of them, NaN where one is missing."""
    items = NO_VALUE.sub("nan", text).strip("[]() \t\r\n").replace(",", " ").replace(";", " ").split()
    return [float(item) for item in items]


def without_signs(text: str) -> str:
    """Return an amount as digits with a minus before them, and the signs for thousands and fractions that it has.

    Removed are currencies, percent signs, and blanks and apostrophes between thousands; (5) and 5- are -5.
    """
    plain = re.sub(rf"{SIGN}|{GROUP}|{SPACE}", "", text).replace("\u2212", "-")
    if plain.startswith("(") or plain.endswith("-"):
        return "-" + plain.strip("()-")
    return plain


def plain_amount(text: str, sign: str) -> str:
    """Return an amount without its signs where it has no other currency or percent sign; other texts as they are."""
    signs = {match[0] for match in re.finditer(SIGN, text)}
    return without_signs(text) if signs <= {sign} and re.match(AMOUNT, text) else text
