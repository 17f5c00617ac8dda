"""How long jobs of tests may choose among ways of learning."""

from app.settings import Settings

CHOOSING_SECONDS = 1.0  # enough on few rows for what is solved for


def patient(settings: Settings) -> Settings:
    """For jobs that compare all candidates that they name, however busy the machine is."""
    return settings.model_copy(update={"choosing_seconds": 60.0})
