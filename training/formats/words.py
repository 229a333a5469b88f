"""Words that messages share."""


def many(count: int, thing: str = "image") -> str:
    """`1 identity`, `1,200 identities`."""
    plural = thing[:-1] + "ies" if thing.endswith("y") else thing + "s"
    return f"{count:,} {thing if count == 1 else plural}"


def people(count: int) -> str:
    """`a person`, `3 people`."""
    return "a person" if count == 1 else f"{count} people"
