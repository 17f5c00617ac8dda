"""The transfer report: arms of learning, compared on rows held out, and the verdict."""
