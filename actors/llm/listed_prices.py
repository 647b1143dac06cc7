"""The prices that providers list, from the package genai-prices, which holds them: nothing is fetched.

Rule: a price that is not certain is unknown. A server of one's own has no listed price, and neither has a
    service tier or a fee that the package does not know.
"""

from __future__ import annotations

import functools
import ipaddress
import warnings
from typing import TYPE_CHECKING, Any

from yarl import URL

from actors.core.limits.price import Price, PriceTier

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

PACKAGE = "genai-prices"
_STANDARD_TIERS = frozenset({"auto", "default", "standard", "standard_only", "on_demand"})
_LOCAL_NAMES = frozenset({"local", "localhost", "internal", "lan", "home", "test"})
_KINDS = {
    "input_usd_per_mtok": "input_mtok",
    "output_usd_per_mtok": "output_mtok",
    "cached_input_usd_per_mtok": "cache_read_mtok",
    "cache_write_usd_per_mtok": "cache_write_mtok",
    "cache_write_hour_usd_per_mtok": "cache_write_1h_mtok",
    "reasoning_usd_per_mtok": "output_reasoning_mtok",
}


@functools.cache
def listed_price(provider: str | None, base_url: str, model: str, service_tier: str | None) -> Price | None:
    """Return the listed price of `model`, None if it is not known.

    provider: the name of the provider in the package; None: the one whose addresses `base_url` fits.
    service_tier: the parameter of that name; it selects the price.
    """
    if is_own(base_url):
        return None
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - loading it takes 0.2 s

    tier = None if service_tier in _STANDARD_TIERS else service_tier
    context = None if tier is None else {"service_tier": tier}
    where: dict[str, Any] = {"provider_api_url": base_url} if provider is None else {"provider_id": provider}
    try:
        with warnings.catch_warnings(action="ignore"):  # about prices that are not of tokens
            found = calc_price(Usage(), model, price_context=context, **where)
    except (LookupError, ValueError):
        return None
    if context is not None:
        is_own_model = any(found.model is each for each in found.provider.models)
        variants = found.model.price_variants or ()
        if not is_own_model or all(variant.when != context for variant in variants):
            return None
    return _price(found.model_price)


def is_own(base_url: str) -> bool:
    """Return whether a URL is of this host or of a private network."""
    host = (URL(base_url).host or "").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.rpartition(".")[2] in _LOCAL_NAMES
    return not address.is_global


def _price(listed: ModelPrice) -> Price | None:
    if listed.input_mtok is None or listed.requests_kcount is not None:
        return None
    kinds = {name: value for name, kind in _KINDS.items() if (value := getattr(listed, kind)) is not None}
    starts = sorted({tier.start for value in kinds.values() for tier in getattr(value, "tiers", ())})
    tiers = (
        PriceTier(above_input_tokens=start, **{name: _at(value, start) for name, value in kinds.items()})
        for start in starts
    )
    return Price(**{name: _at(value, -1) for name, value in kinds.items()}, tiers=tuple(tiers))


def _at(value: Any, start: int) -> float:
    """Return the price in the tier that begins at `start`; -1: in none."""
    price = getattr(value, "base", value)
    for tier in getattr(value, "tiers", ()):
        if tier.start <= start:
            price = tier.price
    return float(price)
