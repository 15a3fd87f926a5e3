"""Streams without an end of their own (the GET streams of 2025 sessions) end in order when the gateway does."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Streams:
    """Ends all streams of the applications that it wraps, at once and for good."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    def end(self) -> None:
        """To the application it looks as if every client had gone, to the clients as if the application had ended."""
        self._over.set()

    def ending(self, inner: ASGIApp) -> ASGIApp:
        """The application, with streams that can be ended."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] != "GET":
                await inner(scope, receive, send)
                return
            open_response = False

            async def watched(message: Message) -> None:
                nonlocal open_response
                open_response = message["type"] == "http.response.start" or message.get("more_body", False)
                await send(message)

            await inner(scope, lambda: self._receive(receive), watched)
            if open_response and self._over.is_set():
                await send({"type": "http.response.body", "body": b""})

        return app

    async def _receive(self, receive: Receive) -> Message:
        receiving = asyncio.ensure_future(receive())
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait([receiving, over], return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else {"type": "http.disconnect"}
        finally:
            receiving.cancel()
            over.cancel()
