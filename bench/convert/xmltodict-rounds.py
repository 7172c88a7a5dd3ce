"""Reads and writes all documents with xmltodict, in rounds; prints the milliseconds of each as JSON."""
import json
import sys
import time

import xmltodict

with open(sys.argv[1], encoding="utf-8") as file:
    documents = [text for _, text in json.load(file)]
times = {"read": [], "write": [], "compact": []}
for number in range(-2, int(sys.argv[2])):
    start = time.perf_counter()
    objects = [xmltodict.parse(text) for text in documents]
    read = time.perf_counter() - start
    start = time.perf_counter()
    for one in objects:
        xmltodict.unparse(one, pretty=True)
    write = time.perf_counter() - start
    start = time.perf_counter()
    for one in objects:
        xmltodict.unparse(one)
    compact = time.perf_counter() - start
    # The first two are for warming up.
    if number >= 0:
        times["read"].append(read * 1000)
        times["write"].append(write * 1000)
        times["compact"].append(compact * 1000)
print(json.dumps(times))
