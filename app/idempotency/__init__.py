"""`Idempotency-Key` on creating requests: the first response is stored, in the same transaction, and replayed.

The same key with another request is refused. Follows the semantics of the (expired) IETF draft of that name.
"""
