"""Frames, the proof, and what garbage does to them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.agent import protocol
from pellucid.agent.protocol import Ask, BadFrame, Refusal, Refused

NONCE, CERTIFICATE, WORDS = b"n" * 32, b"the certificate", ("why", "12")


def ask(token="right", nonce=NONCE, certificate=CERTIFICATE, words=WORDS, sent=WORDS):
    return Ask(sent, protocol.proof(token, nonce, certificate, words))


def test_a_proof_holds_for_its_token_moment_agent_and_words_alone():
    assert protocol.proved("right", NONCE, CERTIFICATE, ask())
    for wrong in (
        ask(token="wrong"),
        ask(nonce=b"m" * 32),
        ask(certificate=b"another"),
        ask(sent=("heap", "12")),
        ask(sent=("wh", "y12")),
        ask(sent=("why12",)),
    ):
        assert not protocol.proved("right", NONCE, CERTIFICATE, wrong)


@given(st.binary(min_size=protocol.HEAD, max_size=protocol.HEAD))
def test_the_head_of_a_frame_is_understood_or_refused(content):
    try:
        kind, length = protocol.head(content)
    except BadFrame:
        return
    assert kind in protocol.KINDS
    assert length <= protocol.MOST


@given(st.binary(max_size=300))
def test_garbage_is_no_question(content):
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(b"{" + content, type=Ask)


@given(st.sampled_from(sorted(protocol.KINDS)), st.binary(max_size=1000))
def test_a_frame_comes_back(kind, content):
    made = protocol.frame(kind, content)
    assert protocol.head(made[: protocol.HEAD]) == (kind, len(content))
    assert made[protocol.HEAD :] == content


def test_a_frame_is_bounded():
    with pytest.raises(ValueError, match=str(protocol.MOST + 1)):
        protocol.frame(protocol.OUT, bytes(protocol.MOST + 1))


def test_an_answer_of_the_agent_ends_as_it_would_there():
    error = Refused(Refusal("not_permitted", 4, "a", "b", "c"))
    assert (error.code, error.exit_status, error.said) == ("not_permitted", 4, "b")
