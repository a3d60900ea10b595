import pytest

from keras_transformers.data.language_names import find_language, language_of
from keras_transformers.tokenizers.languages import LANGUAGE_RULES

pytestmark = pytest.mark.one_backend  # no tensor is touched

NLLB = next(rules.codes for rules in LANGUAGE_RULES if rules.default == "eng_Latn")
MANY = [rules for rules in LANGUAGE_RULES if rules.codes]


@pytest.mark.parametrize("rules", MANY, ids=lambda rules: rules.codes[0])
def test_every_language_of_every_model_has_a_name(rules):
    """And each name leads back to it, or to the scripts that it is written in."""
    codes = [rules.key.format(code) for code in rules.codes]
    for code in codes:
        language = language_of(code)
        assert language is not None, code
        for name in (*language.names, *language.codes):
            try:
                assert find_language("language", name, codes) == code
            except ValueError as error:
                assert "which is several" in str(error) and code in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "wanted, languages, found",
    [
        ("French", NLLB, "fra_Latn"),
        ("french", NLLB, "fra_Latn"),
        ("fr", NLLB, "fra_Latn"),
        ("fra", NLLB, "fra_Latn"),
        ("fra_Latn", NLLB, "fra_Latn"),
        ("Arabic", NLLB, "arb_Arab"),
        ("ar", NLLB, "arb_Arab"),
        ("zho_Hant", NLLB, "zho_Hant"),
        ("Chinese", ["en_XX", "zh_CN"], "zh_CN"),
        ("zho", [">>fra<<", ">>zh<<"], ">>zh<<"),
        ("French", [">>fra<<", ">>deu<<"], ">>fra<<"),
        ("Portuguese", [">>pt<<", ">>pt_BR<<"], ">>pt<<"),
        ("pt_BR", [">>pt<<", ">>pt_BR<<"], ">>pt_BR<<"),
        ("German", ["en", "de"], "de"),
        (None, NLLB, None),
    ],
)
def test_a_language_by_any_name(wanted, languages, found):
    assert find_language("target_language", wanted, languages) == found


@pytest.mark.parametrize("wanted", ["Klingon", "", "xx", 3, "fra_Cyrl"])
def test_an_unknown_language_is_told_the_known(wanted):
    with pytest.raises(ValueError, match="Expected target_language to be one of the 202 languages.*fra_Latn"):
        find_language("target_language", wanted, NLLB)


def test_a_name_of_several():
    with pytest.raises(ValueError, match="got 'Chinese', which is several: zho_Hans, zho_Hant. Give one"):
        find_language("target_language", "Chinese", NLLB)
