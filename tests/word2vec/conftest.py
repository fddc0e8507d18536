"""A vocabulary, and vectors of other words."""

import numpy as np
import pytest

from jaxcap.text import Vocabulary
from tests.word2vec.vector_files import DIM, WORDS


@pytest.fixture
def vocabulary():
    return Vocabulary.build(
        {"dog": 9, "cat": 5, "usa": 3, "café": 2, "runs": 2, "zebra": 1, "of": 7}
    )


@pytest.fixture
def vectors():
    return np.random.default_rng(1).normal(size=(len(WORDS), DIM)).astype(np.float32)  # [V, E]
