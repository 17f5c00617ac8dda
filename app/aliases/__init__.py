"""Aliases of models: moved in one transaction, once the model that they are to mean has answered; their history."""
