"""The price of a usage in exact fractions, computed from a book's JSON by a second hand.

Nothing here is shared with the program: the rules are those of docs/prices.md. It is slow and
plain on purpose; where the two differ, one of them reads that page wrongly."""

import datetime
import fnmatch
import json
import os
import re
import zoneinfo
from fractions import Fraction

TIME_METERS = {"audio_sec", "video_sec", "in_video_sec", "code_sec", "session_sec"}
INPUTS = {"in", "cache_read", "cache_write", "cache_write_1h", "in_audio", "in_image", "in_video",
          "cache_read_audio", "cache_read_image"}
STANDARD = {"", "standard", "default", "auto", "on_demand"}
DETAILS = ("search_ctx", "quality", "size", "steps")
DATE = re.compile(r"(-\d{8}|@\d{8}|-\d{4}-\d{2}-\d{2}|@default)$")
SAME_THING = [{"in", "in_audio", "audio_sec"}, {"in", "in_char", "page", "rerank_search"},
              {"out", "out_image", "image", "image_megapixel", "out_gpixel"},
              {"code_call", "code_session", "code_sec"}, {"page", "page_annotated"}]
ATTO = Fraction(1, 10**18)


def moment(text):
    """Microseconds since 1970; None: unbounded."""
    if text is None:
        return None
    if len(text) == 10:
        text += "T00:00:00Z"
    when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // \
        datetime.timedelta(microseconds=1)


def undated(name):
    """The name without the date at its end; empty where there is none."""
    found = DATE.search(name)
    return name[:found.start()] if found and found.start() > 0 else ""


def half_even(value):
    """To whole atto-dollars, halves to even."""
    scaled = value / ATTO
    low = scaled.numerator // scaled.denominator
    rest = scaled - low
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and low % 2):
        low += 1
    return low * ATTO


class Book:
    def __init__(self, documents, rules=()):
        self.units, self.providers, self.rules = {}, {}, list(rules)
        for document in documents:
            self.units.update(document.get("units", {}))
            for name, provider in document.get("providers", {}).items():
                known = self.providers.setdefault(name, {"models": {}})
                known.update({k: v for k, v in provider.items() if k != "models"})
                for model in provider.get("models", []):
                    known["models"].pop(model["id"].lower(), None)
                    known["models"][model["id"].lower()] = model

    @classmethod
    def folder(cls, path, rules=()):
        documents = []
        for name in sorted(os.listdir(path)):
            if name.endswith(".json"):
                with open(os.path.join(path, name), encoding="utf-8") as file:
                    documents.append(json.load(file))
        return cls(documents, rules)

    def is_token(self, meter):
        return self.units[meter]["of"] == "token"

    # ---- names ----------------------------------------------------------------

    def whole(self, provider, name):
        ids, dated = {}, {}
        for model in provider["models"].values():
            for each in model.get("ids") or [model["id"]]:
                ids[each.lower()] = model
            for each in model.get("dated", []):
                dated[each.lower()] = model
        if name in ids:
            return ids[name], "exact"
        if name.startswith("ft:"):
            head = "ft:" + name[3:].split(":")[0]
            model = ids.get(head) or dated.get(undated(head))
            return (model, "fine-tune") if model else (None, None)
        if undated(name) in dated:
            return dated[undated(name)], "dated"
        return None, None

    def strip(self, provider, name):
        for pattern in provider.get("strip", []):
            found = re.match(re.escape(pattern.lower()).replace(r"\*", "[^:/]*"), name)
            if found and 0 < found.end() < len(name):
                return name[found.end():]
        return name

    def lower(self, provider, name):
        model, how = self.whole(provider, name)
        if model:
            return model, how
        left = self.strip(provider, name)
        if left != name:
            model, how = self.whole(provider, left)
        if not model:
            for suffix in provider.get("suffixes", []):
                if left.endswith(suffix.lower()) and len(suffix) < len(left):
                    model, how = self.whole(provider, left[:-len(suffix)])
                    break
        return (model, "stripped" if how == "exact" else how) if model else (None, None)

    def find(self, provider, name):
        """The model, how it was found, and the region of its name."""
        name = (name or "").lower()
        if not name or len(name) > 256:
            return None, None, ""
        model, how = self.lower(provider, name)
        if model:
            return model, how, ""
        left = self.strip(provider, name)
        for prefix in provider.get("geo_prefixes", []):
            if left.startswith(prefix) and len(left) > len(prefix):
                model, _ = self.lower(provider, left[len(prefix):])
                return (model, "regional", prefix[:-1]) if model else (None, None, "")
        return None, None, ""

    # ---- cards ----------------------------------------------------------------

    def window_holds(self, provider, window, at):
        when = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + \
            datetime.timedelta(microseconds=at)
        hours_zone = zoneinfo.ZoneInfo(window.get("tz") or "UTC")
        days_zone = zoneinfo.ZoneInfo(window.get("day_tz") or window.get("tz") or "UTC")
        local = when.astimezone(hours_zone).strftime("%H:%M")
        spans = window.get("hours", [])
        if spans and not any(a <= local < b if a < b else local >= a or local < b
                             for a, b in spans):
            return False
        day = when.astimezone(days_zone)
        if "days" in window and day.strftime("%a").lower() not in window["days"]:
            return False
        for span in provider.get("calendars", {}).get(window.get("not_on"), []):
            first, _, last = span.partition("..")
            if first <= day.date().isoformat() <= (last or first):
                return False
        return True

    def card(self, provider, period, query, used):
        """The winning variant's `when` and rates, and the flags of the choice."""
        best, best_rank, ambiguous, flags = ({}, period["rates"]), (0, 0), False, set()
        for variant in period.get("variants", []):
            when = variant["when"]
            unseen = False
            holds = when.get("tier", query["tier"]).lower() == query["tier"].lower() and \
                query["input_total"] >= when.get("ctx_min", 0)
            if "region" in when:
                regions = when["region"] if isinstance(when["region"], list) else [when["region"]]
                holds &= query["region"].lower() in [r.lower() for r in regions]
            if "window" in when:
                holds &= self.window_holds(provider, when["window"], query["at"])
            for detail in DETAILS:
                if detail not in when:
                    continue
                told = query.get(detail) or ""
                unseen |= not told
                holds &= not told or told.lower() == when[detail].lower()
            if not holds:
                continue
            if unseen:
                if set(variant["rates"]) & used:
                    flags.add("unseen-variant")
                continue
            rank = (len(when), when.get("ctx_min", 0))
            if rank > best_rank or (rank == best_rank and "tier" in when and "tier" not in best[0]):
                ambiguous = rank == best_rank
                best, best_rank = (when, variant["rates"]), rank
            elif rank == best_rank:
                ambiguous = True
        if ambiguous:
            flags.add("ambiguous")
        return best[0], best[1], flags

    def table(self, provider, period, when, rates):
        """Rates of a card, each of a single unit, with those that come from elsewhere."""
        def single(meter, text):
            return Fraction(text) / self.units[meter]["per"]

        table = {m: single(m, r) for m, r in rates.items()}
        if rates is not period["rates"]:
            replaced = any(self.is_token(m) for m in rates)
            for meter, rate in period["rates"].items():
                if meter not in table and not (replaced and self.is_token(meter)):
                    table[meter] = single(meter, rate)
        for meter, rate in provider.get("fees", {}).items():
            if meter != "note" and meter not in table and not self.is_token(meter):
                table[meter] = single(meter, rate)
        return table

    def falling(self, table, meter):
        while meter is not None and meter not in table:
            meter = self.units[meter].get("falls_to")
        return meter

    # ---- modifiers and contract -------------------------------------------------

    def modifiers(self, provider, model, when, query):
        ids = {i.lower() for i in model.get("ids") or [model["id"]]}
        holding = []
        for modifier in provider.get("modifiers", []):
            where = modifier["when"]
            regions = where.get("region")
            if regions is not None and "region" in when:
                continue
            if "only" in modifier and not ids & {o.lower() for o in modifier["only"]}:
                continue
            if regions is not None and query["region"].lower() not in \
                    [r.lower() for r in (regions if isinstance(regions, list) else [regions])]:
                continue
            if "tier" in where and where["tier"].lower() != query["tier"].lower():
                continue
            holding.append(modifier)
        return holding

    def rule(self, name, model, query):
        def score(glob):
            if not glob:
                return 0
            wild = any(c in glob for c in "*?")
            return len([c for c in glob if c not in "*?"]) if wild else 1 << 20

        fitting = []
        for index, rule in enumerate(self.rules):
            match = rule.get("match", {})
            ids = [model["id"].lower()] + [i.lower() for i in model.get("ids", [])]
            if match.get("provider", name).lower() != name:
                continue
            if "tier" in match and match["tier"].lower() != query["tier"].lower():
                continue
            if "model" in match and not any(fnmatch.fnmatchcase(i, match["model"].lower())
                                            for i in ids):
                continue
            if "upstream" in match and not fnmatch.fnmatchcase(query.get("upstream") or "",
                                                               match["upstream"]):
                continue
            start, end = moment(rule.get("from")), moment(rule.get("to"))
            if (start is not None and query["at"] < start) or \
                    (end is not None and query["at"] >= end):
                continue
            fitting.append((-("tier" in match), -score(match.get("model")), -("rates" in rule),
                            -score(match.get("upstream")), -("provider" in match), index, rule))
        return min(fitting, key=lambda f: f[:6])[6] if fitting else None

    # ---- the whole ---------------------------------------------------------------

    def cost(self, query):
        """{"status", "cost", "list", "match", "flags", "lines": {meter: (quantity, amount)}}"""
        nothing = {"status": "unpriced", "cost": Fraction(0), "list": Fraction(0), "flags": set(),
                   "match": "none", "lines": {}}
        provider = self.providers[query["provider"]]
        query = dict(query, tier=query.get("tier") or "", region=query.get("region") or "",
                     at=moment(query["at"]))
        query.setdefault("input_total", sum(int(n) for m, n in query["usage"].items()
                                            if m in INPUTS))
        if query["tier"].lower() in STANDARD:
            query["tier"] = ""
        model, how, region = self.find(provider, query.get("model"))
        if not model:
            model, how, region = self.find(provider, query.get("model_requested"))
            how = how if how in (None, "regional") else "requested"
        if not model:
            return nothing
        query["region"] = region or query["region"]
        usage = {m: Fraction(n) for m, n in query["usage"].items() if Fraction(n)}
        result = dict(nothing, match=how, flags=set(), lines={})
        periods = [p for p in model["prices"]
                   if (p.get("from") is None or query["at"] >= moment(p["from"]))
                   and (p.get("to") is None or query["at"] < moment(p["to"]))]
        if not periods:
            result["flags"] = {"no-period"}
            return result
        if not usage:
            return result
        when, rates, flags = self.card(provider, periods[0], query, set(usage))
        table = self.table(provider, periods[0], when, rates)
        holding = self.modifiers(provider, model, when, query)
        rule = self.rule(query["provider"], model, query)
        multiplier = Fraction(1)
        if query["tier"] and "tier" not in when:
            known = {t.lower(): f for t, f in provider.get("tier_multipliers", {}).items()}
            if query["tier"].lower() in known:
                multiplier = Fraction(known[query["tier"].lower()])
                flags.add("tier-derived")
            elif not (rule and "tier" in rule.get("match", {})):
                flags.add("no-tier")
        if how == "regional" and "region" not in when and \
                not any("region" in m["when"] for m in holding):
            flags.add("no-region")

        def listed(meter):
            rate = table[meter]
            if self.is_token(meter) and meter not in provider.get("tier_keeps", []):
                rate *= multiplier
            for modifier in holding:
                if self.is_token(meter) or modifier["meters"] == "all":
                    rate *= Fraction(modifier["multiply"])
            return rate

        list_rates = {m: listed(m) for m in table}
        contracted = dict(list_rates)
        if rule and "rates" in rule:
            contracted.update({m: Fraction(r) / self.units[m]["per"]
                               for m, r in rule["rates"].items()})
        elif rule:
            for meter in contracted:
                if rule.get("meters") != "token" or self.is_token(meter):
                    contracted[meter] *= Fraction(rule["multiplier"])

        def charge(meter, quantity):
            found = self.falling(contracted, meter)
            if found is None:
                return False
            amount = contracted[found] * quantity
            on_list = self.falling(list_rates, meter)
            list_amount = amount if on_list is None else list_rates[on_list] * quantity
            if meter in TIME_METERS:
                if half_even(amount) != amount:
                    flags.add("rounded-1e-18")
                amount, list_amount = half_even(amount), half_even(list_amount)
            assert half_even(amount) == amount
            result["lines"][meter] = (quantity, amount)
            result["cost"] += amount
            result["list"] += list_amount
            return True

        missing = set()
        for meter, quantity in usage.items():
            if quantity > 1 and (meter in ("enterprise_web_search", "maps_search") or
                                 (meter == "web_search" and
                                  model.get("web_search_unit") == "grounded_prompt")):
                quantity = Fraction(1)
            if query.get("counted"):
                quantity = max(quantity, Fraction(provider.get("minimums", {}).get(meter, 0)))
            twice = meter == "in_audio" and usage.get("audio_sec") and \
                "audio_sec" in contracted and "in_audio" not in contracted
            twice = twice or (meter == "in" and usage.get("in_char") and "in_char" in contracted)
            if not twice and not charge(meter, quantity):
                missing.add(meter)
        priced = set(usage) - missing
        if priced - {"request"} and not any(self.is_token(m) for m in contracted):
            missing = {m for m in missing if not self.is_token(m)}
        for same in SAME_THING:
            if priced & same:
                missing -= same
        missing.discard("request")
        for stand_in in provider.get("stand_ins", []):
            if stand_in["used"] in missing and charge(stand_in["charge"],
                                                      Fraction(stand_in["quantity"])):
                missing.discard(stand_in["used"])
                flags.add("stand-in")
        if missing:
            flags.add("no-rate")
        result["flags"] = flags
        if result["lines"] or set(usage) == {"request"}:
            result["status"] = "partial" if flags & {"no-rate", "no-tier", "no-region"} else "ok"
        return result
