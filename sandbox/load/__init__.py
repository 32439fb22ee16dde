"""Load generator: users who keep clicking while a release is rolled out.

`python -m sandbox.load --url https://amy.sandbox.test --connect 10.77.0.10:443 --ca FILE --rate 80 --out DIR`

It starts requests at a constant rate, whatever the answers do, never asks twice, and writes down every one of them
(`requests.jsonl`), and what they amount to (`summary.json`, see `summary.py`).
"""
