"""What one device's connection counts, shows to `hotpair trace`, and may send. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from gateway.driver import Diagnostics, DriverContext, Frame
from gateway.errors import DeviceError, InvalidReply, LinkError, Refused, ReplyTimeout


class Wire:
    """Stands between the driver and its connection: every request passes here."""

    def __init__(self, device: str, context: DriverContext) -> None:
        self.device = device
        self.diagnostics = Diagnostics()
        self.last_sent_ns = 0
        self._context = context
        self._last_error: DeviceError | None = None
        self._sinks: list[Callable[[Frame], None]] = []

    @property
    def traced(self) -> bool:
        """Whether somebody looks on: only then is it worth to describe a request."""
        return bool(self._sinks)

    def trace(self, sink: Callable[[Frame], None]) -> Callable[[], None]:
        """Send frames to `sink` until the returned function is called."""
        self._sinks.append(sink)

        def stop() -> None:
            if sink in self._sinks:
                self._sinks.remove(sink)

        return stop

    def ask(self) -> None:
        """Raise LinkError if nothing may be sent any more: the last act before bytes leave."""
        if not self._context.may_send():
            raise LinkError("the reign has ended: nothing is sent")
        self.last_sent_ns = self._context.clock.monotonic_ns()

    def show(self, sent: bool, text: str) -> None:
        """Tell those who look on."""
        if self._sinks:
            frame = Frame(self._context.clock.utc_ns(), self.device, sent, b"", text)
            for sink in list(self._sinks):
                sink(frame)

    def requested(self, text: str) -> int:
        """Count a request; its time, for `answered`."""
        self.diagnostics.requests += 1
        self.show(True, text)
        return self._context.clock.monotonic_ns()

    def answered(self, text: str, started_ns: int, timed: bool) -> None:
        """Count a reply; `timed` is false for those that the server holds back on purpose."""
        rtt_ns = self._context.clock.monotonic_ns() - started_ns
        if timed:
            self.diagnostics.round_trip(rtt_ns)
        self.diagnostics.replies += 1
        self.diagnostics.last_good_ns = self._context.clock.utc_ns()
        self.diagnostics.consecutive_failures = 0
        if self._sinks:
            self.show(False, f"{text} after {rtt_ns / 1e6:.1f} ms")

    def failed(self, error: DeviceError) -> None:
        """Count a request or a connection that came to nothing, by kind; the same error once."""
        if error is self._last_error:
            return
        self._last_error = error
        counters = self.diagnostics
        if isinstance(error, ReplyTimeout):
            counters.timeouts += 1
        elif isinstance(error, Refused):
            counters.exceptions[error.code] = counters.exceptions.get(error.code, 0) + 1
        elif isinstance(error, InvalidReply):
            counters.invalid_replies += 1
        elif isinstance(error, LinkError):
            counters.link_failures += 1
        counters.failed(self._context.clock.utc_ns(), str(error))
        self.show(False, str(error))
