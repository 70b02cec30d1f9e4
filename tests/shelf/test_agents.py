"""Every agent that ships: it loads, and is about as good as its card says."""

from __future__ import annotations

import pytest

from synthenv import shelf
from synthenv.sb3 import evaluate, load_agent


@pytest.mark.parametrize("name", shelf.ids("agents"))
def test_agent_does_what_its_card_says(name: str) -> None:
    card = shelf.card(shelf.find(name, "agents"))
    returns = evaluate(load_agent(name), card["target"], episodes=10)
    assert card["id"] == name
    scores = card["scores"]
    assert returns.mean() >= scores["mean"] - max(0.1 * abs(scores["mean"]), 3 * scores["std"] / len(returns) ** 0.5)
