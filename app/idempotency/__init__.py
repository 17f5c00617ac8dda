"""`Idempotency-Key` on creating requests: the first answer is kept in the creating transaction and replayed.

The same key with another request is refused. Follows the semantics of the (expired) IETF draft of that name.
"""
