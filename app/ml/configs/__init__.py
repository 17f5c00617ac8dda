"""What a request says of learning: pydantic models, fields with bounds, no rows."""
