"""The languages of published translation models, and which tokens stand around a source and a target.

                  source                      target                      the target's language is given by
    mBART         text </s> en_XX             text </s> ro_RO             the token that the decoder starts from
    mBART-50      en_XX text </s>             ro_RO text </s>             the first token, forced
    M2M100        __en__ text </s>            __fr__ text </s>            the first token, forced
    SMALL-100     __fr__ text </s>            text </s>                   the source
    NLLB          eng_Latn text </s>          fra_Latn text </s>          the first token, forced
    Marian        >>fra<< text </s>           text </s>                   the source
    all others    the tokens that the engine puts around a text, or text </s>

A language is a special token, so the languages of a `tokenizer.json` are found by how they are written. The codes stand
in the order of their ids, as each model writes them; `data/language_names.py` has the names by which people ask for
them.

Source: the tokenizers of transformers 5.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class LanguageRules:
    """How one class of tokenizers writes languages, and where.

    Attributes:
        token: a language as a token, "{}" standing for its code.
        code: a regular expression of the codes.
        source, target: the parts of a side, of "language", "text" and "end".
        place: how the language to write is given to the model: "forced", by the decoder's first token; "start", by the
            token that the decoder starts from; "source", by a token in the source; None: not at all.
        codes: the languages that the class adds to a vocabulary, in the order of their ids.
        key: the name of a language here, "{}" standing for its code.
        default: the source's language if nothing says which.
        legacy: the rules if `legacy_behaviour` is set.
    """

    token: str = "{}"
    code: str = "$^"
    source: tuple[str, ...] = ("text", "end")
    target: tuple[str, ...] = ("text", "end")
    place: str | None = None
    codes: tuple[str, ...] = ()
    key: str = "{}"
    default: str | None = None
    legacy: "LanguageRules | None" = None

    def chosen(self, config: Mapping[str, Any]) -> "LanguageRules":
        """These rules or the older ones, as a `tokenizer_config.json` says."""
        return self.legacy if self.legacy is not None and config.get("legacy_behaviour") else self

    def languages(self, tokens: Iterable[tuple[str, int]]) -> dict[str, int]:
        """The codes of the languages among special tokens, with their ids, in the order of the ids."""
        pattern = re.compile(re.escape(self.token).replace(r"\{\}", f"({self.code})"))
        found = ((pattern.fullmatch(token), i) for token, i in sorted(tokens, key=lambda item: item[1]))
        return {self.key.format(match[1]): i for match, i in found if match}


@dataclasses.dataclass(frozen=True)
class Languages:
    """The languages that a tokenizer has tokens for.

    Attributes:
        rules: how they are written, and where.
        ids: the id of each, by the code that the checkpoint calls it.
    """

    rules: LanguageRules
    ids: Mapping[str, int]

    @classmethod
    def of_tokens(cls, tokens: Iterable[tuple[str, int]], rules: LanguageRules | None) -> "Languages":
        """The languages among special tokens with their ids; None: by the rules that fit the tokens."""
        tokens = list(tokens)
        rules = rules or rules_by_tokens(tokens)
        return cls(rules, rules.languages(tokens))

    @property
    def place(self) -> str | None:
        """`rules.place`, or None if there are no languages."""
        return self.rules.place if self.ids else None


def rules_by_tokens(tokens: Iterable[tuple[str, int]]) -> LanguageRules:
    """The rules by which special tokens are languages, for a tokenizer that names no class.

    Of the rules whose languages are all there, those with the most languages are taken.
    """
    tokens = list(tokens)
    for rules in sorted(LANGUAGE_RULES, key=lambda rules: -len(rules.codes)):
        languages = rules.languages(tokens)
        if languages and all(rules.key.format(code) in languages for code in rules.codes):
            return rules
    return NO_LANGUAGES


_MBART_CODES = """
ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX
ro_RO ru_RU si_LK tr_TR vi_VN zh_CN
""".split()
_MBART50_CODES = """
af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN
te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI
""".split()
_M2M100_CODES = """
af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu hy id ig
ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru sd si sk sl
so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu
""".split()
_WMT21_CODES = "en ha is ja cs ru zh de".split()
_NLLB_CODES = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn amh_Ethi apc_Arab arb_Arab ars_Arab ary_Arab
arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng
bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn
cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn
pes_Arab fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn
hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn
jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor knc_Arab knc_Latn kaz_Cyrl kbp_Latn kea_Latn
khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kon_Latn kor_Hang kmr_Latn lao_Laoo lvs_Latn lij_Latn lim_Latn lin_Latn
lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Latn
mkd_Cyrl plt_Latn mlt_Latn mni_Beng khk_Cyrl mos_Latn mri_Latn zsm_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva
nso_Latn nus_Latn nya_Latn oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pol_Latn por_Latn prs_Arab pbt_Arab
quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Beng scn_Latn shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn
sna_Latn snd_Arab som_Latn sot_Latn spa_Latn als_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn
tam_Taml tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi taq_Latn taq_Tfng tpi_Latn tsn_Latn tso_Latn tuk_Latn
tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn
xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zul_Latn
""".split()

NO_LANGUAGES = LanguageRules()
_TEXT_FIRST = ("text", "end", "language")
_LANGUAGE_FIRST = ("language", "text", "end")
MBART = LanguageRules(
    code="[a-z]{2}_[A-Z]{2}",
    source=_TEXT_FIRST,
    target=_TEXT_FIRST,
    place="start",
    codes=tuple(_MBART_CODES),
    default="en_XX",
)
MBART50 = LanguageRules(
    code=MBART.code,
    source=_LANGUAGE_FIRST,
    target=_LANGUAGE_FIRST,
    place="forced",
    codes=tuple(_MBART_CODES + _MBART50_CODES),
    default="en_XX",
)
M2M100 = LanguageRules(
    token="__{}__",
    code="[a-z]{2,3}",
    source=_LANGUAGE_FIRST,
    target=_LANGUAGE_FIRST,
    place="forced",
    codes=tuple(_M2M100_CODES),
    default="en",
)
WMT21 = dataclasses.replace(M2M100, codes=tuple(_WMT21_CODES))
# The tokens are those of M2M100, so that the name of the class alone tells it.
SMALL100 = dataclasses.replace(M2M100, target=("text", "end"), place="source", key="__{}__", default=None)
NLLB = LanguageRules(
    code="[a-z]{3}_[A-Z][a-z]{3}",
    source=_LANGUAGE_FIRST,
    target=_LANGUAGE_FIRST,
    place="forced",
    codes=tuple(_NLLB_CODES),
    default="eng_Latn",
)
NLLB = dataclasses.replace(NLLB, legacy=dataclasses.replace(NLLB, source=_TEXT_FIRST, target=_TEXT_FIRST))
MARIAN = LanguageRules(token=">>{}<<", code="[^<>]+", source=_LANGUAGE_FIRST, place="source", key=">>{}<<")

LANGUAGE_RULES = (MBART, MBART50, M2M100, WMT21, NLLB, MARIAN)


def has_letter(text: str) -> bool:
    """Whether a text holds a letter of any script. Without one, such as "12:30" or "…", it is no language."""
    return any(map(str.isalpha, text))
