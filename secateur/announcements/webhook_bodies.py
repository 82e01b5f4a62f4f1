"""What a webhook is sent: our own JSON, or a message as Slack and Microsoft Teams take it."""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

Form = Literal["secateur", "slack", "teams"]

_MAX_CHARS = 2000
_FACTS = {
    "version": "Version",
    "from": "Champion before",
    "why": "Why",
    "who": "Who",
    "failed": "Failed",
    "when": "When",
}


def body_of(payload: Mapping[str, Any], form: Form) -> str:
    """Return JSON for an incoming webhook of Slack, a workflow of Teams, or whoever reads ours.

    Texts that others have written (a reason, a name) are shown as they are: they format nothing and link nowhere.
    """
    if form == "secateur":
        return json.dumps(payload, sort_keys=True, ensure_ascii=False)
    values = {"version": payload.get("to"), **payload}
    facts = {title: _cut(values[name]) for name, title in _FACTS.items() if values.get(name) not in (None, "", [])}
    made = _slack(_headline(values), facts) if form == "slack" else _teams(_headline(values), facts)
    return json.dumps(made, ensure_ascii=False)


def _headline(values: Mapping[str, Any]) -> str:
    model, version = values.get("model"), values.get("version")
    which = f"{model} version {version}" if version else str(model)
    said = {
        "secateur.promoted": f"{which} is the champion",
        "secateur.rolled_back": f"{which} is the champion again",
        "secateur.held": f"{which} is held",
        "secateur.waits": f"{which} waits for approvals",
        "secateur.failed": f"{which} failed",
    }
    return said.get(str(values.get("event")), f"{which}: {values.get('event')}")


def _slack(headline: str, facts: Mapping[str, str]) -> dict[str, Any]:
    """Return a message of Slack's Block Kit; in its text only three signs have a meaning."""
    plain = {name: _slack_text(text) for name, text in {"": headline, **facts}.items()}
    lines = [f"*{name}*: {text}" for name, text in plain.items() if name]
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": headline[:150]}}]
    if lines:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)[:3000]}})
    return {"text": plain[""], "blocks": blocks}


def _slack_text(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([*_~`])", "\u200b\\1", escaped)


def _teams(headline: str, facts: Mapping[str, str]) -> dict[str, Any]:
    """Return a message with an Adaptive Card 1.4, whose texts know a few signs of Markdown."""
    body: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": _teams_text(headline), "weight": "bolder", "size": "medium", "wrap": True}
    ]
    if facts:
        shown = [{"title": name, "value": _teams_text(text)} for name, text in facts.items()]
        body.append({"type": "FactSet", "facts": shown})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _teams_text(text: str) -> str:
    return re.sub(r"([\\\[\]()*_~`#<>])", r"\\\1", text)


def _cut(value: Any) -> str:
    text = " ".join((", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)).split())
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 3] + "..."
