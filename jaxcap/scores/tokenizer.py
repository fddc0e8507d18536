"""The tokenizer of caption scores: coco-caption's Stanford PTB tokenizer, without its Java.

Scores of captions can be compared only when both were cut into words in the same way. coco-caption
lower-cases, runs Stanford's Penn Treebank tokenizer over one caption a line, and drops a list of
punctuation marks. Its habits are kept here, odd as some are: "can't" is `ca n't`, "(" stays as
`-lrb-`, "ground.A" is one word, and "22 3/4" is one word with a no-break space inside. A caption is
read on its own: what follows in the file never decides about its last full stop.
"""

import html
import re
from collections.abc import Mapping, Sequence

_L = r"[^\W\d_]"  # a letter of any alphabet
_W = r"[^\W_]"  # a letter or a digit

# Words that keep their full stop: in any case of letters, only when capitalised, and only before a
# number.
_ABBREVIATIONS = """adj adm adv al ala alex apr ariz assn assoc asst atty attys aug ave bancorp
    bhd bldg blvd brig bros calif capt cf cie cmdr co col colo comdr conn corp cos cpl ct dak
    dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga gen gov govs hon inc ind insp
    intl invt jan jos jr jul jun kan kans ky lieut lt ltd maj mar md messrs mfg mich minn mlle
    mme mo mon mont mr mrs ms msgr mt mtg natl neb nev nov oct okla penn pfc ph ph.d plc pres
    prof profs pte pty pvt rd rep reps rev rt sen sens sep sept seq sfc sgt spc sq sr st ste
    supt supts sys tel tenn thu thurs treas tue tues univ va vs vt wed wis wisc wm wyo"""
_CAPITALISED = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"


def _any_of(words: str) -> str:
    """Returns the regular expression of a list of words, the longer first, as "|" needs it."""
    ordered = sorted(words.split(), key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, ordered))})"


_NOT = rf"(?i:n't)(?!{_L})"
_CONTRACTION = rf"'(?i:s|m|d|re|ve|ll)(?!{_W})"
_HYPHENATED = f"{_W}+(?:[-_]{_W}+)*"

# The first rule that fits wins, so a rule stands before those that would cut its token short.
_RULES = (
    r"[A-Za-z]+(?=[ ]|$)",  # needs none of the rules below; most words end here
    # Addresses, names of users and topics, tags.
    r"https?://[^\s<>\"()]*[^\s<>\"().,;!?]",
    rf"www\.(?:{_W}[\w-]*\.)*{_W}[\w-]*",
    rf"{_W}[\w.+-]*@{_W}[\w-]*(?:\.{_W}[\w-]*)*",
    rf"@{_L}\w*|#{_L}+",
    rf"</?{_L}[\w:.-]*/?>",
    # "U.S." and "U.S.-based"; "St."; words joined by a mark: "avrovulcan.com", "on the ground.A
    # dog".
    rf"(?:{_L}\.)+(?!-?{_W})|(?:{_L}\.)+(?=\d)",
    rf"(?:(?i:{_any_of(_ABBREVIATIONS)})|(?=[A-Z])(?i:{_any_of(_CAPITALISED)}))\.(?!-?{_W})",
    rf"(?i:{_any_of(_BEFORE_NUMBERS)})\.(?=[ ]?\d)",
    rf"{_L}{_W}*(?:[.!?](?:{_L}|-{_W}){_W}*(?:-{_W}+)*)+",
    # "22 3/4", "12:30", "1,000", ".99", "-5".
    r"\d{1,4}[ ]\d{1,4}/\d{1,4}(?!\d)",
    r"[-+]?\d*(?:[.,:]\d+)+",
    r"(?<!-)[-+]\d+",
    # "is n't", "'s", and words that keep an apostrophe: "O'Brien", "d'art", "ma'am", "'n'", "'em",
    # "'70s", "y'".
    rf"{_L}+(?={_NOT})|{_NOT}",
    _CONTRACTION,
    rf"(?:[A-HJ-XZn]|[dlo])'(?!{_CONTRACTION[1:]}){_L}{{2,}}(?:-{_W}+)*",
    rf"{_L}+[aeiouyAEIOUY](?!{_CONTRACTION})'[aeiouA-Z]{_L}*",
    rf"(?i:ol'|(?:o'clock|c'mon|c'est|s'mores|ev'ry|li'l|nat'l|nor'easter|cap'n|e'er)(?:-{_W}+)*)",
    rf"'n'|(?i:'(?:n|em|till?|cause))(?!{_W})|'[2-9]0s|(?<!\w)'\d\d(?=\s|$)"
    rf"|(?i:[djly]'(?={_L})|'t(?=(?:is|was)(?!{_W})))",
    # "AT&T", "US$", "beige/white", "long-haired".
    r"[A-Z]+(?:&[A-Z]+)+",
    r"[A-Z]{1,2}\$",
    rf"{_HYPHENATED}(?:/{_HYPHENATED})*",
    # Marks. Those that coco-caption drops fit no rule, so that the search passes over them.
    r"[!?]{2,}|\*+|_+|[^\s.,:;!?'\"`-]",
)
_TOKEN = re.compile("|".join(f"(?:{rule})" for rule in _RULES))

# Words that are two to the Penn Treebank, and the names it gives to some marks.
_RENAMED = {
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "lemme": "lem me",
    "gimme": "gim me",
    "wanna": "wan na",
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    "£": "#",
    "€": "$",
    "¢": "cents",
}
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp);")
_PLAIN_MARKS = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "--", "—": "--", "…": "..."}
)


def ptb_tokenize(caption: str) -> list[str]:
    """Cuts a caption into words as coco-caption does.

    Args:
      caption: one caption, in any case of letters.

    Returns:
      Its lower-cased words, without punctuation marks; [] for a caption of marks alone.
    """
    text = _ENTITY.sub(lambda match: html.unescape(match.group()), caption).translate(_PLAIN_MARKS)
    words = []
    for match in _TOKEN.finditer(text):
        word = match.group().lower().replace(" ", "\N{NO-BREAK SPACE}")
        words += _RENAMED.get(word, word).split(" ")
    return words


def tokenize_pairs(
    hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Cuts captions and their references into words, in the order of `hypotheses`.

    Args:
      hypotheses: one caption by image id.
      references: at least one reference by image id; other images are left out.

    Returns:
      The words of each caption, and of each of its references.

    Raises:
      ValueError: there is no hypothesis, or one without a reference.
    """
    if not hypotheses:
        raise ValueError("no captions")
    bare = [image for image in hypotheses if not references.get(image)]
    if bare:
        raise ValueError(f"{len(bare)} captions without a reference, as of image {bare[0]}")
    ours = [ptb_tokenize(caption) for caption in hypotheses.values()]
    theirs = []
    for image in hypotheses:
        theirs.append([ptb_tokenize(caption) for caption in references[image]])
    return ours, theirs
