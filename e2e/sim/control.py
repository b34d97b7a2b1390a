# SPDX-License-Identifier: Apache-2.0
"""The control socket of a simulator, and the frame in which one runs.

A connection carries one command: the number of words, then the words, each ended by a NUL byte.
The answer is text, then a NUL byte, then the exit status as a digit. A client that hangs up
cancels its command. Commands run concurrently.

A command is a method marked with @command. Its signature is its syntax: positional parameters in
their order, keyword-only parameters as --options, annotations convert. What it returns is printed;
Refused is a negative answer.
"""

import asyncio
import collections
import contextlib
import inspect
import os
import re
import signal
import time

OK, NEGATIVE, MISUSED = 0, 1, 2
POLL = 0.02

history = collections.deque(maxlen=10000)


def say(text):
    """One line an event: what a person reads when a scenario failed."""
    now = time.time()
    line = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03} {text}"
    history.append(line)
    print(line, flush=True)


class Refused(Exception):
    """The command was understood; its answer is no."""


class Misused(Exception):
    """The command was not understood."""


def seconds(text):
    """A duration: 300ms, 5s, 2m, 1.5."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|)", text)
    if not match:
        raise ValueError(f"{text!r} is no duration")
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "": 1}[match[2]]


def split_name(text):
    """NAMESPACE/NAME"""
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise ValueError(f"{text!r} is not NAMESPACE/NAME")
    return namespace, name


async def wait_until(condition, timeout, describe):
    """Wait for condition(); describe() says what is the case instead."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            raise Refused(f"timeout: {describe()}")
        await asyncio.sleep(POLL)


def command(method):
    method.is_command = True
    return method


def _name(parameter):
    return parameter.name.replace("_", "-")


def usage(name, method):
    words = [name]
    for parameter in inspect.signature(method).parameters.values():
        word = _name(parameter).upper()
        if parameter.kind is parameter.KEYWORD_ONLY:
            flag = f"--{_name(parameter)}"
            words.append(f"[{flag}]" if parameter.annotation is bool else f"[{flag} {word}]")
        elif parameter.kind is parameter.VAR_POSITIONAL:
            words.append(f"[{word}...]")
        else:
            words.append(word if parameter.default is parameter.empty else f"[{word}]")
    return " ".join(words)


def _convert(parameter, word):
    if parameter.annotation is parameter.empty:
        return word
    try:
        return parameter.annotation(word)
    except ValueError as error:
        raise Misused(f"{_name(parameter)}: {error}") from error


def bind(method, words):
    """The command line as the arguments of method."""
    parameters = inspect.signature(method).parameters.values()
    options = {f"--{_name(p)}": p for p in parameters if p.kind is p.KEYWORD_ONLY}
    places = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    arguments, keywords = [], {}
    words = iter(words)
    for word in words:
        if word in options:
            option = options[word]
            if option.annotation is bool:
                keywords[option.name] = True
            else:
                value = next(words, None)
                if value is None:
                    raise Misused(f"{word} wants a value")
                keywords[option.name] = _convert(option, value)
        elif word.startswith("--"):
            raise Misused(f"unknown option {word}")
        elif not places:
            raise Misused(f"unexpected {word!r}")
        else:
            arguments.append(_convert(places[0], word))
            if places[0].kind is not places[0].VAR_POSITIONAL:
                places.pop(0)
    missing = [_name(p).upper() for p in places
               if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if missing:
        raise Misused(f"{missing[0]} is missing")
    return arguments, keywords


class Control:
    def __init__(self, *owners):
        self.commands = {}
        for owner in (*owners, self):
            for name, method in inspect.getmembers(owner, inspect.ismethod):
                if hasattr(method, "is_command"):
                    self.commands[name.replace("_", "-")] = method

    @command
    async def help(self):
        """What can be said."""
        lines = []
        for name, method in sorted(self.commands.items()):
            lines.append(usage(name, method))
            if method.__doc__:
                lines.append("    " + " ".join(method.__doc__.split()))
        return "\n".join(lines)

    @command
    async def log(self):
        """Everything that was printed so far."""
        return "\n".join(history)

    async def execute(self, words):
        """(exit status, text) of one command line."""
        method = self.commands.get(words[0]) if words else None
        if method is None:
            return MISUSED, "no such command, try: help"
        try:
            arguments, keywords = bind(method, words[1:])
        except Misused as error:
            return MISUSED, f"{error}; usage: {usage(words[0], method)}"
        try:
            return OK, await method(*arguments, **keywords) or ""
        except Misused as error:
            return MISUSED, str(error)
        except Refused as error:
            return NEGATIVE, str(error)

    async def _on_client(self, reader, writer):
        async def word():
            return (await reader.readuntil(b"\0"))[:-1].decode()

        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), \
                contextlib.closing(writer):
            words = [await word() for _ in range(int(await word()))]
            answer = asyncio.ensure_future(self.execute(words))
            hung_up = asyncio.ensure_future(reader.read())
            try:
                await asyncio.wait({answer, hung_up}, return_when=asyncio.FIRST_COMPLETED)
                if answer.done():
                    status, text = answer.result()
                    text = text + "\n" if text and not text.endswith("\n") else text
                    writer.write(f"{text}\0{status}".encode())
                    await writer.drain()
            finally:
                answer.cancel()
                hung_up.cancel()

    async def serve(self, path):
        return await asyncio.start_unix_server(self._on_client, path, limit=1 << 24)


def run(simulator, control_path, *owners):
    """Start the simulator, take its commands and those of the other owners, stop on SIGTERM or
    SIGINT; then end() what outlives a stop, where there is such a thing."""
    async def main():
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        await simulator.start()
        server = await Control(simulator, *owners).serve(control_path)
        await stopped.wait()
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(control_path)
        await simulator.stop()
        if hasattr(simulator, "end"):
            await simulator.end()

    asyncio.run(main())
