"""Languages by common names: a checkpoint's "fra_Latn", "fr_XX", "fr" or ">>fra<<" is found by "French", "fr" and "fra"
too.

A row below is a language: its codes and its English names. The codes are two letters (ISO 639-1) if there are such,
three letters (ISO 639-3), then other codes in checkpoints (the standard language's, if the first is a group's).
"""

import functools
from collections.abc import Iterable

from keras_transformers.spelling import nearest

_ROWS = """
ace: Acehnese
af afr: Afrikaans
ak aka: Akan
am amh: Amharic
ar ara arb: Arabic, Modern Standard Arabic
acm: Mesopotamian Arabic
acq: Ta'izzi-Adeni Arabic
aeb: Tunisian Arabic
ajp: South Levantine Arabic
apc: North Levantine Arabic
ars: Najdi Arabic
ary: Moroccan Arabic
arz: Egyptian Arabic
as asm: Assamese
ast: Asturian
awa: Awadhi
ay aym ayr: Aymara, Central Aymara
az aze azj: Azerbaijani, North Azerbaijani
azb: South Azerbaijani
ba bak: Bashkir
bm bam: Bambara
ban: Balinese
be bel: Belarusian
bem: Bemba
bn ben: Bengali
bho: Bhojpuri
bjn: Banjar
bo bod: Tibetan, Standard Tibetan
bs bos: Bosnian
br bre: Breton
bug: Buginese
bg bul: Bulgarian
ca cat: Catalan
ceb: Cebuano
cs ces cze: Czech
cjk: Chokwe
ckb: Central Kurdish, Sorani
crh: Crimean Tatar
cy cym wel: Welsh
da dan: Danish
de deu ger: German
dik: Southwestern Dinka, Dinka
dyu: Dyula
dz dzo: Dzongkha
el ell gre: Greek
en eng: English
eo epo: Esperanto
et est ekk: Estonian
eu eus baq: Basque
ee ewe: Ewe
fa fas per pes: Persian, Western Persian, Farsi
prs: Dari
fo fao: Faroese
fj fij: Fijian
fi fin: Finnish
fon: Fon
fr fra fre: French
fy fry: Western Frisian, Frisian
fur: Friulian
ff ful fuv: Fula, Fulah, Nigerian Fulfulde
gd gla: Scottish Gaelic, Gaelic
ga gle: Irish
gl glg: Galician
gn grn gug: Guarani
gu guj: Gujarati
ht hat: Haitian Creole, Haitian
ha hau: Hausa
he heb iw: Hebrew
hi hin: Hindi
hne: Chhattisgarhi
hr hrv: Croatian
hu hun: Hungarian
hy hye arm: Armenian
is isl ice: Icelandic
ig ibo: Igbo
ilo: Ilocano
id ind: Indonesian
it ita: Italian
jv jav: Javanese
ja jpn: Japanese
kab: Kabyle
kac: Jingpho
kam: Kamba
kn kan: Kannada
ks kas: Kashmiri
ka kat geo: Georgian
kr kau knc: Kanuri, Central Kanuri
kk kaz: Kazakh
kbp: Kabiyè
kea: Kabuverdianu, Cape Verdean Creole
km khm: Khmer
ki kik: Kikuyu
rw kin: Kinyarwanda
ky kir: Kyrgyz
kmb: Kimbundu
ku kur kmr: Kurdish, Northern Kurdish, Kurmanji
kg kon: Kikongo, Kongo
ko kor: Korean
la lat: Latin
lo lao: Lao
lij: Ligurian
li lim: Limburgish
ln lin: Lingala
lt lit: Lithuanian
lmo: Lombard
ltg: Latgalian
lb ltz: Luxembourgish
lua: Luba-Kasai
lg lug: Ganda, Luganda
luo: Luo
lus: Mizo
lv lav lvs: Latvian, Standard Latvian
mag: Magahi
mai: Maithili
ml mal: Malayalam
mr mar: Marathi
min: Minangkabau
mk mkd mac: Macedonian
mg mlg plt: Malagasy, Plateau Malagasy
mt mlt: Maltese
mni: Meitei, Manipuri
mn mon khk: Mongolian, Halh Mongolian
mos: Mossi
mi mri mao: Maori
ms msa may zsm: Malay, Standard Malay
my mya bur: Burmese
nl nld dut: Dutch
nn nno: Norwegian Nynorsk, Nynorsk
no nor nb nob: Norwegian, Norwegian Bokmål, Bokmål
ne nep npi: Nepali
nso ns: Northern Sotho
nus: Nuer
ny nya: Nyanja, Chichewa
oc oci: Occitan
om orm gaz: Oromo, West Central Oromo
or ori ory: Odia, Oriya
pag: Pangasinan
pa pan: Punjabi, Eastern Panjabi, Panjabi
pap: Papiamento
pl pol: Polish
pt por: Portuguese
ps pus pbt: Pashto, Southern Pashto
qu que quy: Quechua, Ayacucho Quechua
ro ron rum: Romanian
rn run: Rundi, Kirundi
ru rus: Russian
sg sag: Sango
sa san: Sanskrit
sat: Santali
scn: Sicilian
shn: Shan
si sin: Sinhala
sk slk slo: Slovak
sl slv: Slovenian, Slovene
sm smo: Samoan
sn sna: Shona
sd snd: Sindhi
so som: Somali
st sot: Southern Sotho, Sotho
es spa: Spanish, Castilian
sq sqi alb als: Albanian, Tosk Albanian
sc srd: Sardinian
sr srp: Serbian
ss ssw: Swati
su sun: Sundanese
sv swe: Swedish
sw swa swh: Swahili
szl: Silesian
ta tam: Tamil
taq: Tamasheq
tt tat: Tatar
te tel: Telugu
tg tgk: Tajik
tl tgl: Tagalog, Filipino
th tha: Thai
ti tir: Tigrinya
tpi: Tok Pisin
tn tsn: Tswana
ts tso: Tsonga
tk tuk: Turkmen
tum: Tumbuka
tr tur: Turkish
tw twi: Twi
tzm: Central Atlas Tamazight
ug uig: Uyghur
uk ukr: Ukrainian
umb: Umbundu
ur urd: Urdu
uz uzb uzn: Uzbek, Northern Uzbek
vec: Venetian
vi vie: Vietnamese
war: Waray
wo wol: Wolof
xh xho: Xhosa
yi yid ydd: Yiddish, Eastern Yiddish
yo yor: Yoruba
yue: Cantonese, Yue Chinese
zh zho chi cmn: Chinese, Mandarin
zu zul: Zulu
"""


class Language:
    """A language of the table: its `codes`, the shortest first, and its `names`."""

    def __init__(self, row: str) -> None:
        codes, names = row.split(": ")
        self.codes, self.names = tuple(codes.split()), tuple(names.split(", "))


@functools.cache
def _by_name() -> dict[str, Language]:
    languages = [Language(row) for row in _ROWS.strip().splitlines()]
    return {each.casefold(): language for language in languages for each in (*language.codes, *language.names)}


def languages_by_name() -> dict[str, Language]:
    """Return all languages of the table by their first name."""
    return {each.names[0]: each for each in _by_name().values()}


def language_of(code: str) -> Language | None:
    """Return the language of a checkpoint's code, such as "fra_Latn" or ">>fr<<", of a name, or of a plain code; None
    if it is unknown."""
    bare = code.strip("_<>").casefold()
    return _by_name().get(bare) or _by_name().get(bare.partition("_")[0])


def find_language(name: str, wanted: str | None, languages: Iterable[str]) -> str | None:
    """Return the checkpoint's code of a language, given that code, the English name, or a code of two or three letters.
    None stays None.

    Args:
        name: the argument's name in errors, such as "target_language".
        wanted: the language.
        languages: the codes of the checkpoint.

    Raises:
        ValueError: for an unknown language, listing the known ones; and for one that several codes match, listing
            these.

    Example:
        >>> find_language("target_language", "French", ["deu_Latn", "fra_Latn"])
        'fra_Latn'
    """
    codes = list(languages)
    try:
        return known_language(name, wanted, codes)
    except ValueError:
        if not isinstance(wanted, str):
            raise
    language = _by_name().get(wanted.strip().casefold())
    found = [code for code in codes if language is not None and language_of(code) is language]
    # If one code is the language and others are its variants ("pt" and "pt_BR"), the language is meant.
    found = [code for code in found if "_" not in code.strip("_<>")] or found
    if not found:
        raise language_error(name, wanted, codes)
    if len(found) > 1:
        raise ValueError(
            f"Expected {name} to be one language of this model, got {wanted!r}, which is several: {', '.join(found)}. "
            "Give one of them."
        )
    return found[0]


def known_language(name: str, language: str | None, languages: Iterable[str]) -> str | None:
    """Return a language as it is in `languages`, given with or without the marks of a token: "fr" from "__fr__",
    ">>fra<<" from "fra". None stays None.

    Args:
        name: the argument's name in errors, such as "target_language".

    Raises:
        ValueError: for an unknown language, listing the known ones.
    """
    if language is None or language in languages:
        return language
    bare = {_bare(code): code for code in languages}
    if _bare(str(language)) not in bare:
        raise language_error(name, language, languages)
    return bare[_bare(str(language))]


def language_error(name: str, language: object, languages: Iterable[str]) -> ValueError:
    """Return the error for a language that a tokenizer does not know; the list begins with similar languages."""
    known = list(languages)
    if not known:
        return ValueError(
            f"Expected no {name}, got {language!r}: this tokenizer has no tokens for languages. Leave {name} out."
        )
    plain, wanted = {_bare(code).lower(): code for code in known}, _bare(str(language)).lower()
    near = [plain[key] for key in nearest(wanted, plain, 3, 0.5)]
    near += [code for key, code in plain.items() if key.startswith(wanted[:2])]
    ordered = list(dict.fromkeys([*near[:5], *known]))
    return ValueError(
        f"Expected {name} to be one of the {len(known)} languages that this tokenizer knows, got {language!r}. They "
        f"are: {', '.join(ordered)}."
    )


def _bare(language: str) -> str:
    """Return a code without the marks of a token around it."""
    return language.strip("_<>")
