"""Other tokenizers made into the engine's: `vocab.txt`, `vocab.json` with `merges.txt`, `*.model`, GGUF, KerasHub.

    folders        whose class a folder's files are of         agreement     `tokenizer.json` beside the other files
    classes        the classes, one record each                added_tokens  special and added tokens
    word_piece     `vocab.txt`                                 options       `tokenizer_config.json`
    byte_level     `vocab.json` with `merges.txt`              gguf          the metadata of a GGUF file
    sentencepiece  `*.model`, `*.spm`                          keras_hub     presets of KerasHub
    pipelines      normalizer, pre-tokenizer, decoder          around        post-processor

Files of the older formats hold pieces and no rules. The rules (casing, accents, the tokens around a text) belong to a
class, which `tokenizer_config.json` or `config.json` names. The ids are those of transformers' own tokenizers, token by
token, and are tested so.

    class                     files                   pieces                        around a text, and two
    BERT, DistilBERT, ELECTRA vocab.txt               WordPiece                     [CLS] A [SEP]   B [SEP]
    MPNet                     vocab.txt               WordPiece                     <s> A </s>      </s> B </s>
    RoBERTa, BART             vocab.json, merges.txt  BPE of bytes                  <s> A </s>      </s> B </s>
    GPT-2, OPT                vocab.json, merges.txt  BPE of bytes                  A               B
    XLM-RoBERTa, CamemBERT    *.model                 Unigram, ids moved            <s> A </s>      </s> B </s>
    ALBERT                    *.model                 Unigram                       [CLS] A [SEP]   B [SEP]
    DeBERTa                   vocab.json, merges.txt  BPE of bytes                  [CLS] A [SEP]   [SEP] B [SEP]
    DeBERTa v2 and v3         *.model                 Unigram                       [CLS] A [SEP]   B [SEP]
    T5                        *.model                 Unigram, then extra ids       A </s>          B </s>
    mBART                     *.model                 Unigram, ids moved, languages A </s> en_XX    B, in front of </s>
    mBART-50                  *.model                 Unigram, ids moved, languages en_XX A </s>    B, in front of </s>
    NLLB                      *.model                 BPE, ids moved, languages     eng_Latn A </s> B, in front of </s>
    M2M100                    *.model, vocab.json     SentencePiece, then languages __en__ A </s>   B, in front of </s>
    Marian                    *.spm, vocab.json       SentencePiece, one a side     A </s>          B, in front of </s>
    Pegasus                   *.model                 Unigram, ids moved by 103     A </s>          B, in front of </s>
    ByT5                      none                    bytes, then extra ids         A </s>          B </s>
    Llama                     *.model                 BPE, and bytes                A               B
    GPT-NeoX, Qwen, CodeGen   vocab.json, merges.txt  BPE of bytes                  A               B

GPT-2 and the last two rows put start and end tokens around a text if `add_bos_token` and `add_eos_token` say so.
Languages are in `languages.py`. The pieces of M2M100 and Marian are numbered by `vocab.json`, and split as in
`numbered_pieces.py`.

Source: the tokenizers of transformers 5.
"""
