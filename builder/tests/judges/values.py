"""Prints what PyYAML reads in a file as JSON with sorted keys; refuses what is not a plain value."""

import json
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    print(json.dumps(yaml.safe_load(file), sort_keys=True))
