"""What a check has found: a name that stays, what it means, and how to mend it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or makes numbers worth less than they look.

    Attributes:
      name: of the check, in kebab-case; it never changes, so that scripts can look for it.
      found: what was found, with its numbers.
      meaning: what follows from it.
      advice: how to mend it.
    """

    name: str
    found: str
    meaning: str
    advice: str

    def __str__(self) -> str:
        return f"doctor: {self.name}: {self.found}: {self.meaning}; {self.advice}"

    def of(self, place: str) -> "Finding":
        """Returns the same finding, said of one of several things."""
        return replace(self, found=f"{place}: {self.found}")
