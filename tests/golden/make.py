"""Writes tokens.json and scores.json anew from captions.txt and images.json with the reference
programs.

    python -m tests.golden.make

It needs Java and pycocoevalcap (extra [java]). The captions are our own sentences; what Stanford's
tokeniser and coco-caption's scorers make of them is what ours must equal.
"""

import json
import os
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

HERE = Path(__file__).parent


def tokenised(captions: dict[str, list[str]]) -> dict[str, list[str]]:
    """Tokenises lists of captions by Java: words joined by spaces, as the scorers want them."""
    return PTBTokenizer().tokenize(
        {name: [{"caption": text} for text in texts] for name, texts in captions.items()}
    )


def tokens() -> dict[str, str]:
    """Tokenises captions.txt. A plain line follows each caption, because Java looks ahead after a
    full stop.
    """
    captions = (HERE / "captions.txt").read_text(encoding="utf-8").splitlines()
    words = tokenised({caption: [caption, "x"] for caption in captions})
    return {caption: words[caption][0] for caption in captions}


def scores() -> dict[str, object]:
    """Scores images.json: corpus scores, those of single images, and what METEOR's program counted
    in them.
    """
    images = json.loads((HERE / "images.json").read_text(encoding="utf-8"))
    references = tokenised({name: image["references"] for name, image in images.items()})
    # Java drops a caption without words together with its line.
    hypotheses = {name: [""] for name in images} | tokenised(
        {name: [image["hypothesis"]] for name, image in images.items() if image["hypothesis"]}
    )
    corpus = {
        f"BLEU-{n}": value
        for n, value in enumerate(Bleu().compute_score(references, hypotheses, 0)[0], start=1)
    }
    each = {}
    for name, scorer in (("ROUGE-L", Rouge()), ("CIDEr-D", Cider()), ("METEOR", Meteor())):
        value, values = scorer.compute_score(references, hypotheses)
        corpus[name] = float(value)
        each[name] = list(map(float, values))
    program = Meteor()
    counts = [program._stat(hypotheses[name][0], references[name]) for name in images]
    return {"corpus": corpus, "images": each, "meteor_counts": counts}


def main() -> None:
    os.environ["JAVA_TOOL_OPTIONS"] = "-Dfile.encoding=UTF-8 -Duser.language=en"
    for name, content in (("tokens.json", tokens()), ("scores.json", scores())):
        (HERE / name).write_text(
            json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
