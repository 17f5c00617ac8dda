"""What the name of a column says of its values: that they are texts, labels, codes, or ids of the rows."""

import re

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
TEXT_NAMES = frozenset(
    [
        "text",
        "sentence",
        "review",
        "question",
        "message",
        "comment",
        "tweet",
        "description",
        "body",
        "utterance",
        "query",
        "document",
        "article",
        "headline",
        "abstract",
        "passage",
        "paragraph",
        "phrase",
        "complaint",
        "narrative",
        "transcript",
        "prompt",
        "feedback",
        "post",
        "sms",
    ]
)
WHOLE_TEXT_NAMES = frozenset(
    ["content", "answer", "response", "completion", "instruction", "input", "output", "caption", "summary"]
)
LABEL_NAMES = frozenset(
    [
        "label",
        "target",
        "class",
        "category",
        "sentiment",
        "intent",
        "topic",
        "y",
        "polarity",
        "emotion",
        "stance",
        "genre",
        "rating",
        "star",
        "spam",
    ]
)
LABEL_LIST_NAMES = (LABEL_NAMES - {"target", "y", "rating", "star"}) | {"tag"}  # a target may be a series
POSTAL_NAMES = frozenset(["zip", "zipcode", "plz", "postleitzahl", "postcode", "postal", "postalcode"])
CODE_NAMES = POSTAL_NAMES | frozenset(
    [
        "code",
        "id",
        "uuid",
        "guid",
        "phone",
        "telephone",
        "tel",
        "mobile",
        "fax",
        "ean",
        "gtin",
        "upc",
        "isbn",
        "issn",
        "sku",
        "barcode",
        "iban",
        "siren",
        "siret",
        "ssn",
    ]
)
AMOUNT_NAMES = frozenset(
    ["count", "number", "length", "len", "share", "rate", "score", "amount", "total", "price", "age", "size"]
)
VERSION_NAMES = frozenset(["version", "ver", "release", "section", "chapter", "clause", "paragraph", "revision", "rev"])
ID_NAME = re.compile(r"(^|[_ .-])(id|uuid|guid|index|key)$|^unnamed: 0$", re.IGNORECASE)
CAMEL_ID = re.compile(r"[a-z](Id|ID|Uuid|UUID)$")
PROPER_NAMES = frozenset(["name", "address", "street", "title", "url", "path", "file", "filename"])
MIN_PLURAL = 3


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name such as "customer_ids", "customerId" or "Customer ID": small letters, singular."""
    return tuple(_singular(word.casefold()) for word in WORDS.findall(name))


def is_called_text(name: str) -> bool:
    """Return whether a column is called text, review, customer_message or the like."""
    words = words_of(name.rstrip("0123456789"))
    return bool(words) and (words[-1] in TEXT_NAMES or (len(words) == 1 and words[0] in WHOLE_TEXT_NAMES))


def is_called_label(name: str) -> bool:
    """Return whether a column is called label, sentiment, category or the like."""
    words = words_of(name)
    return bool(words) and words[-1] in LABEL_NAMES


def is_called_labels(name: str) -> bool:
    """Return whether a column of lists is called labels, tags, genres or the like, so that these hold labels."""
    words = words_of(name)
    return bool(words) and words[-1] in LABEL_LIST_NAMES


def is_called_code(name: str) -> bool:
    """Return whether a column is called zip, id, phone_number, product code or the like."""
    words = set(words_of(name))
    return bool(words & CODE_NAMES) and not words & (AMOUNT_NAMES - {"number"})


def is_called_postal(name: str) -> bool:
    """Return whether a column is called zip, plz, postal code or the like."""
    return bool(set(words_of(name)) & POSTAL_NAMES) and is_called_code(name)


def is_called_version(name: str) -> bool:
    """Return whether a column is called version, release, section or the like."""
    words = set(words_of(name))
    return bool(words & VERSION_NAMES) and not words & AMOUNT_NAMES


def is_called_id(name: str) -> bool:
    """Return whether a column is called id, customer_id, PassengerId, index, key or the like."""
    return bool(ID_NAME.search(name) or CAMEL_ID.search(name))


def is_called_name(name: str) -> bool:
    """Return whether a column is called name, address, title or the like: words, but no sentences."""
    words = words_of(name)
    return bool(words) and words[-1] in PROPER_NAMES


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if len(word) > MIN_PLURAL and word.endswith("s") and not word.endswith("ss") else word
