"""Asks a model and reads what it says: the conversation of one record, with its repair and its shortening.

Each request is one call under all policies; how often it is attempted is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflow.engine.http.answering import check_status, read_value
from dataflow.engine.http.attempts import Answer, AttemptError, Call, CallError, Request
from dataflow.engine.http.manners import MannerRefused
from dataflow.engine.http.statuses import said_in_answer
from dataflow.policies.retry import Attempt
from dataflow.policies.tokens import TokenMeans, expected, learned
from dataflow.services.headers import of_json
from dataflow.services.manners import Manner
from dataflow.services.refused import refused_part
from dataflow.services.replies import (
    REFUSAL,
    TOO_LONG,
    NoReply,
    Reply,
    error_inside,
    failed_generation,
    is_filtered,
    is_too_long,
    read_completion,
    read_reply,
)
from dataflow.services.selection import MalformedAnswer, UnexpectedAnswer
from dataflow.services.shortening import TRIES, shorten

if TYPE_CHECKING:
    from dataflow.engine.http.provider import Provider
    from dataflow.services.answers import AnswerReader
    from dataflow.services.llm import Chat
    from dataflow.services.manners import Message


class ChatCall:
    """What one service asks a model, as a coroutine function over the values of its columns."""

    def __init__(self, chat: Chat, reader: AnswerReader, provider: Provider) -> None:
        self._chat = chat
        self._reader = reader
        self._provider = provider
        self._means = TokenMeans()
        self._headers = of_json({}, chat.api.headers)
        self._parts = chat.parts
        self._finder = provider.endpoints.finder((chat.api.name, chat.api.url, chat.model))

    async def __call__(self, values: Sequence[Any], call: Call) -> Any:
        """The value of the service for one record.

        Raises:
            CallError: No attempt succeeded, or the model gives no answer that can be used.
        """
        try:
            texts = self._chat.texts(values)
        except ValueError as error:
            raise CallError("bad input", f"the prompt cannot be written: {error}") from error
        messages, reply = await self._converse(texts, call)
        try:
            return self._read(reply)
        except (MalformedAnswer, UnexpectedAnswer) as error:
            said = {"role": "assistant", "content": reply.said}
            complaint = {"role": "user", "content": self._chat.complaint(error)}
            repaired = await self._ask([*messages, said, complaint], call)
        try:
            return self._read(repaired)
        except (MalformedAnswer, UnexpectedAnswer) as error:
            text = f"the answer is not what returns= says, also after it was told so: {error}"
            raise CallError("unexpected answer", text, status=call.status) from error

    def _read(self, reply: Reply) -> Any:
        try:
            return read_reply(reply, None if self._chat.format is None else self._reader)
        except NoReply as error:
            raise CallError(error.reason, error.error) from error

    async def _converse(self, texts: dict[str, str], call: Call) -> tuple[list[Message], Reply]:
        """What is said to the model and what it answers; a prompt that is too long may be shortened first."""
        tries = TRIES if self._chat.too_long == "truncate" else 0
        while True:
            messages = self._chat.messages(texts)
            try:
                return messages, await self._ask(messages, call)
            except CallError as error:
                shorter = shorten(texts)
                if error.reason != TOO_LONG or tries <= 0 or shorter == texts:
                    raise
                texts, tries = shorter, tries - 1

    async def _ask(self, messages: Sequence[Message], call: Call) -> Reply:
        """Make one request of the conversation, in the manner that its endpoint takes."""
        chat = self._chat
        send = partial(self._send, messages, call)
        return await self._finder.ask(send, call, parts=self._parts, with_tools=chat.with_tools)

    async def _send(self, messages: Sequence[Message], call: Call, manner: Manner) -> tuple[Reply, Manner]:
        """Make it in one manner, or the latest of it when its turn comes.

        It is a call of its own under the terms and the deadline of the whole.
        """
        said = self._chat.in_manner(messages, manner)
        characters = sum(len(one["content"]) for one in said)
        part = call.request(expects=lambda: expected(self._means, characters=characters, most=self._chat.max_tokens))
        try:
            reply, used = await self._provider.caller.perform(partial(self._attempt, messages, part, manner), part)
        finally:
            call.add(part)
        if reply.tokens is not None:
            sent, received = reply.tokens
            self._means = learned(self._means, characters=characters, sent=sent, received=received)
        return reply, used

    async def _attempt(self, messages: Sequence[Message], call: Call, manner: Manner) -> tuple[Reply, Manner]:
        manner = self._finder.latest(manner)
        body = self._chat.body(messages, manner)
        request = Request(method="POST", url=self._chat.url, headers=self._headers, body=body)
        answer = call.got(_as_told(await self._provider.send(request, as_text=True)))
        if answer.status >= 400:
            call.use(0, 0)
            if self._chat.format is not None and (made := failed_generation(answer.body)) is not None:
                return Reply(text=made), manner
            self._check_refusal(answer, manner)
        check_status(answer, later=self._provider.api.later)
        reply: Reply = read_value(
            answer.body, self._reader, status=answer.status, read=lambda body, _: read_completion(body)
        )
        if reply.tokens is not None:
            call.use(*reply.tokens)
        return reply, manner

    def _check_refusal(self, answer: Answer, manner: Manner) -> None:
        """Raise what an error means that is the endpoint's way to refuse the prompt, or how it was asked."""
        status, body = answer.status, answer.body
        if is_too_long(status, body):
            text = "the model has no room for the prompt"
            raise AttemptError(TOO_LONG, text, attempt=Attempt.REFUSED, status=status)
        if is_filtered(body):
            text = "a filter of the provider refuses the prompt"
            raise AttemptError(REFUSAL, text, attempt=Attempt.REFUSED, status=status, said=said_in_answer(answer))
        self._check_manner(answer, manner)

    def _check_manner(self, answer: Answer, manner: Manner) -> None:
        status, body, sent = answer.status, answer.body, self._chat.parts_in(manner)
        part = refused_part(status, body, sent=sent, format=manner.format)
        if part is None:
            if not sent and refused_part(status, body, sent=self._chat.parts, format=manner.format) is not None:
                self._finder.note_vain()
            return
        # A fault of the provider that names what it has taken before is a fault.
        if not self._finder.gives_up and not (status >= 500 and part in self._finder.known.tried):
            raise MannerRefused(part, manner=manner, status=status, said=said_in_answer(answer))


def _as_told(answer: Answer) -> Answer:
    """An answer whose good status hides an error, with the status that the error stands for."""
    if not 200 <= answer.status < 300 or (status := error_inside(answer.body)) is None:
        return answer
    return Answer(status=status, headers=answer.headers, body=answer.body)
