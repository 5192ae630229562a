#!/usr/bin/env python3
"""Writes pricing/prices.csv: what models cost, from the list that litellm publishes in its package (MIT licence).

    scripts/prices.py

A newer list: set VERSION and READ, run it, and set SHA256 to what it says; `git diff` then shows which prices changed.
It takes Python 3.9 and pip. The wheel has about 40 MB and is not kept.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from decimal import Decimal
from pathlib import Path

VERSION = "1.109.1"
# The day on which that version was read.
READ = "2026-11-29"
SHA256 = "8f8060d8ce7a40c91b995c74d6a27657543d49e3c1c53430dabd556f244392c6"
LIST = "litellm/model_prices_and_context_window_backup.json"
OUT = Path(__file__).parent.parent / "pricing" / "prices.csv"

# Our providers by litellm's. Of two lists for one of ours, the earlier goes first where both have a model.
PROVIDERS = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "azure": "azure",
    "azure_text": "azure",
    "azure_ai": "azure",
    "groq": "groq",
    "mistral": "mistral",
    "xai": "xai",
    "together_ai": "together",
    "openrouter": "openrouter",
    "deepinfra": "deepinfra",
}
# What can be batched; speech, video, realtime and the like cannot.
MODES = {"chat", "completion", "responses", "embedding", "image_generation", "moderation"}
TIERS = {"sync": "", "batch": "_batches", "flex": "_flex"}
# Our names of what is counted, and the litellm field up to the length of the context and the tier.
KINDS = {
    "input": "input_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_long": ("cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_cost_above_12hr"),
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_input": "input_cost_per_audio_token",
    "cached_audio": "cache_read_input_audio_token_cost",
    "audio_output": "output_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "cached_image": "cache_read_input_image_token_cost",
    "image_output": "output_cost_per_image_token",
    "video_input": "input_cost_per_video_token",
    "video_output": "output_cost_per_video_token",
}
# A price of its own that is the general one is none: tiers that do not repeat it are not gaps then.
SAME = {"reasoning": "output", "audio_input": "input", "image_input": "input", "video_input": "input",
        "audio_output": "output", "image_output": "output", "video_output": "output"}
COLUMNS = ["provider", "model", "tier", "above", *KINDS, "image", "us_percent", "fast_times"]
# Every price is a multiple of this: whole percents of it, taken twice, are then whole numbers of 1e-18 dollars.
GRAIN = Decimal("1e-13")

HEAD = f"""\
# USD per 1,000,000 tokens; image: per image made; above: for prompts of more tokens than this.
# Made by scripts/prices.py on {READ} from {LIST} of litellm {VERSION};
# Copyright (c) 2023 Berri AI, MIT licence, see LICENSE-litellm.
"""


def load():
    """The list as it is published, with exact numbers."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", folder, f"litellm=={VERSION}"], check=True)
        (wheel,) = Path(folder).glob("litellm-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read(LIST)
    found = hashlib.sha256(text).hexdigest()
    if found != SHA256:
        sys.exit(f"prices.py: litellm {VERSION} has a list with SHA256 {found}, not {SHA256}")
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def name(key, litellm):
    """A model as our callers name it; None for what none of them can mean."""
    prefix = f"{'azure' if litellm == 'azure_text' else litellm}/"
    if key.startswith(prefix):
        key = key[len(prefix):]
    elif litellm == "together_ai":
        return None  # sizes of models, not models
    # Prices of one size and quality of an image, and of one region: neither is told by an answer.
    region = litellm.startswith("azure") and "/" in key
    return None if region or "-x-" in key or "," in key else key


def price(model, fields, context, tier):
    """The first of these fields that the model has."""
    for field in (fields,) if isinstance(fields, str) else fields:
        found = model.get(field + context + tier)
        if found is not None:
            return exact(found, field)
    return None


def exact(found, field):
    if not isinstance(found, Decimal) or found < 0 or found % GRAIN != 0:
        sys.exit(f"prices.py: {field} is {found}, which is no multiple of {GRAIN}")
    return found


def rates(model, context, tier):
    """Prices for one length of context in one tier."""
    found = {kind: price(model, fields, context, tier) for kind, fields in KINDS.items()}
    return {kind: value for kind, value in found.items() if value is not None}


def fill_batch(row, sync, litellm):
    """Prices of batches that follow from the others, where the list leaves them out."""
    if litellm == "anthropic" and "input" in row and "cache_write_long" in sync:
        # What is written into the cache costs a multiple of the tier's input price (its page on prompt caching).
        long = exact(sync["cache_write_long"] * row["input"] / sync["input"], "cache_write_long")
        row.setdefault("cache_write_long", long)
    if litellm in ("openai", "azure") and "input" in row and "cached_input" in sync:
        # OpenAI's price list for batches has none for what older models had in their cache: it is input as any other.
        row.setdefault("cached_input", row["input"])


def per_image(key, model, sized):
    """The price of an image, where it has one for all sizes and none per token."""
    if key in sized:
        return None
    prices = {model.get("input_cost_per_image"), model.get("output_cost_per_image")} - {None, Decimal(0)}
    by_token = any(model.get(KINDS[kind]) for kind in ("image_output", "output"))
    return exact(prices.pop(), "image") if len(prices) == 1 and not by_token else None


def charged_otherwise(model):
    """Whether a model costs anything at all, in whatever way."""
    return any(isinstance(value, Decimal) and value for field, value in model.items() if "_cost_" in field)


def rows(model, litellm):
    """Tier, context and prices; the synchronous ones for short contexts first."""
    infixes = {match for field in model for match in re.findall(r"_above_\d+k_tokens", field)}
    contexts = {int(re.search(r"\d+", infix)[0]) * 1000: infix for infix in infixes} | {0: ""}
    every = {(tier, above): rates(model, infix, suffix)
             for tier, suffix in TIERS.items() for above, infix in sorted(contexts.items())}
    same = {kind for kind, general in SAME.items()
            if all(row.get(kind) in (None, row.get(general)) for row in every.values())}
    for (tier, above), prices in every.items():
        row = {kind: value for kind, value in prices.items() if kind not in same}
        if tier == "batch":
            fill_batch(row, every["sync", above], litellm)
        if row:
            yield tier, above, row


def plain(number, unit):
    text = f"{number * unit:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def lines(provider, key, model, litellm, sized):
    image = per_image(key, model, sized) if model["mode"] == "image_generation" else None
    found = list(rows(model, litellm))
    if image is not None:
        found = [("sync", 0, {"image": image})]
    if charged_otherwise(model) and not any(value for *_, row in found for value in row.values()):
        return
    factors = model.get("provider_specific_entry") or {}
    if factors.get("fast", 1) % 1 != 0 or factors.get("us", 1) * 100 % 1 != 0:
        sys.exit(f"prices.py: {key}: {factors}")
    for tier, above, row in found:
        cells = [provider, key, tier, plain(Decimal(above), 1)]
        cells += [plain(row[kind], 1_000_000) if kind in row else "" for kind in KINDS]
        cells.append(plain(row["image"], 1) if "image" in row else "")
        first = (tier, above) == ("sync", 0)
        cells.append(plain(factors["us"], 100) if first and "us" in factors else "")
        cells.append(plain(factors["fast"], 1) if first and "fast" in factors else "")
        yield ",".join(cells)


def main():
    models = {}
    whole = load()
    sized = {key.rsplit("/", 1)[-1] for key in whole if "-x-" in key}
    for litellm, provider in PROVIDERS.items():
        prefixed = {key for key in whole if key.startswith(f"{litellm}/")}
        # A name with its prefix goes before the same without.
        for key in sorted(whole, key=lambda key: (key not in prefixed, key)):
            model = whole[key]
            if model.get("litellm_provider") != litellm or model.get("mode") not in MODES:
                continue
            ours = name(key, litellm)
            if ours is not None:
                models.setdefault((provider, ours), (model, litellm))
    written = [line for names, found in sorted(models.items()) for line in lines(*names, *found, sized)]
    OUT.write_text(HEAD + ",".join(COLUMNS) + "\n" + "\n".join(written) + "\n", encoding="utf-8")
    print(f"{OUT.name}: {len(models)} models in {len(written)} lines, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
