"""A server for tasks over HTTP: `keras-transformers serve`.

    client ─► routes ─► a form ─► Job ─► queue of a model ─► batch ─► one call of the task ─► a form ─► client
              app.py    openai.py        batching.py                  operations.py
                        translate.py     one thread a model owns it
                        ranking.py

A form translates its JSON to an operation and its texts. Jobs of equal operations are computed together.
"""
