"""BLEU: the choice of the reference length."""

from jaxcap.scores import bleu


def test_the_closest_reference_length_is_the_shorter_of_two_as_close():
    assert bleu.statistics([list("abcd")], [[list("abcde"), list("abc")]])[0, :2].tolist() == [4, 3]
