"""A loopback OpenAI-compatible provider: a process of its own that behaves, or misbehaves, as a test tells it to.

In a test (any folder below tests/) or a benchmark::

    from loopback import Provider

    with Provider(key="sk-test", latency=0.2, latency_sigma=1.0) as provider:
        ...ask provider.url + "/chat/completions"...          # http://127.0.0.1:PORT/v1
        provider.configure(faults={"500": 0.05, "cut": 0.02})  # from now on
        counters = provider.wait_idle()                        # every answer is out: what was asked and sent

Every option is a field of :class:`loopback.settings.Settings`, described there; an unknown one is an error at once.
The same options may be changed while it runs; what is in flight keeps the answer that was decided on arrival.

**Answers** are a function of the request alone: the text holds the digest of its messages (:func:`digest`) and words
drawn from it, so a stored reply tells which request it belongs to. Usage is a quarter of the characters.

**Faults** come in four ways, looked at in this order:

1. A marker in the last message: ``[[fault:500]]`` always, ``[[fault:500 x2]]`` for the first two times that these very
   messages are asked, ``[[fault:cut@0 x1]]`` with the byte offset of a cut. Markers never get into an answer.
2. ``script``: a list of rules, the first that fits and is not used up decides::

       script=[{"fault": "500", "first": 2}]                  # the first two requests of each distinct body
       script=[{"fault": "cut", "at": "body", "first": 1, "per": "server"}]    # one request in all
       script=[{"fault": "hang", "skip": 3, "first": 1}]      # the fourth time that a body is asked
       script=[{"fault": "policy", "containing": "bomb"}]     # all whose last message contains it
       script=[{"fault": "reset", "path": "/v1/batches", "first": 1}]          # another endpoint than chat

3. ``faults``: a rate for each fault. Whether the nth request of a body is hit depends on ``seed``, body and n alone,
   not on the order of arrival.
4. ``provider.stop_listening()`` refuses connections until ``listen_again()``.

The names of all faults are the keys of :data:`loopback.faults.FAULTS`.

**Limits** (``requests_per_minute``, ``tokens_per_minute``) are held over a sliding window of ``window`` seconds, or by
a token bucket (``limiter="bucket"``). The outcome of a request that was over the limit is ``limited``.

**Batches** (``/v1/files``, ``/v1/batches``) run for ``batch_validating`` and ``batch_running`` seconds and end as
``batch_outcomes`` says. Their lines get the same answers and the same faults as calls: an error's line is in the error
file, another body in the output file; under a fault of JSON the line itself is broken, under one of the wire it is in
neither file. A scripted rule with a ``path`` hits the calls themselves: a fault of the wire (cut, reset, hang) after
the call took effect, any other instead of it.

**Counters** (``provider.counters()``, described at :class:`loopback.counters.Counters`) and ``provider.requests()``,
one row for each distinct request with how often it was asked and answered in full, are what a test reconciles with
the store. ``provider.log()`` shows the last ``keep`` requests with headers and body.

The process ends when the test leaves the ``with`` block, or dies, however it dies. Everything is the standard library,
so that the server is lighter than any client that is measured against it.
"""

from loopback.chat import digest
from loopback.client import Provider

__all__ = ["Provider", "digest"]
