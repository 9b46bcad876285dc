"""Text for places where only printable ASCII may stand: names, comments and descriptions that we write or report."""


def printable(text: str) -> str:
    """`text` with a question mark for each character that is not printable ASCII, and for each backslash.

    The backslash separates values.
    """
    return "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text)
